"""Asks for predictions, at the gateway or at a bare server, and reads the answers."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import Any

import requests

from tests.patience import PATIENCE

PROMPT = "Once upon a time, the fox"
OTHER = "The old house"
WRITING = {"max_tokens": 6, "seed": 11, "temperature": 0.9}
QUERY = "max_tokens=6&seed=11&temperature=0.9"
END_OF_TEXT = 0  # of the embedded model
JSON, TEXT, EVENTS = "application/json", "text/plain", "text/event-stream"


@dataclass(frozen=True)
class Server:
    """Where predictions are asked for."""

    url: str
    is_bare: bool

    def post(self, path: str = "", query: str = "", **options: Any) -> requests.Response:
        url = f"{self.url}/predictions/gpt2{path}{'?' if query else ''}{query}"
        return requests.post(url, timeout=PATIENCE, **options)

    def send(self, path: str, **options: Any) -> requests.Response:
        """Send to a path beside `/predictions`."""
        return requests.post(self.url + path, timeout=PATIENCE, **options)

    def completion(self, prompt: Any = PROMPT, **options: Any) -> dict[str, Any]:
        """What OpenAI's route answers: the measure of all others."""
        reply = self.post("/1.0/v1/completions", json={"prompt": prompt, **WRITING, **options})
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def text(self, prompt: Any = PROMPT, **options: Any) -> str:
        return str(self.completion(prompt, **options)["choices"][0]["text"])

    def curl(self, *words: str, path: str = "") -> str:
        command = ["curl", "-sS", "--fail-with-body", f"{self.url}/predictions/gpt2{path}", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def text_of(reply: requests.Response) -> str:
    """The text of a reply that is one completion."""
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith(JSON)
    [choice] = reply.json()["choices"]
    return str(choice["text"])


def fields(*prompts: Any, name: str = "data", **more: Any) -> dict[str, Any]:
    """Options of `requests` that send a form as `curl -F` does."""
    options = {key: (None, str(value)) for key, value in {**WRITING, **more}.items()}
    return {"files": [(name, prompt) for prompt in prompts] + list(options.items())}


def form_of(reply: requests.Response) -> str:
    assert reply.status_code == 200, reply.text
    return reply.headers["content-type"].split(";")[0]
