"""The embedded model, packed with a chat template and served, and how others keep it busy."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from soak.service import ROOT, Service

MODEL_DIRECTORY = ROOT / "models" / "gpt2-tales"
MODEL = "gpt2-tales"
# Turns that end as DialoGPT's do.
TEMPLATE = "{% for message in messages %}{{ message.content }}{{ eos_token }}{% endfor %}"
PROMPT = "Once upon a time"
GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 8}
# More sequences than run and wait, so that whoever comes is refused.
FULL: list[dict[str, Any]] = [
    {"prompt": "A", "n": 32, "max_tokens": 400, "stream": True, "ignore_eos": True}
] * 3
# So many completions beside a stream slow it, so that it lasts until it is left.
CROWD = {"prompt": "A", "n": 24, "max_tokens": 480, "ignore_eos": True}
PATIENCE = 120.0


def pack(store: Path) -> None:
    """Pack the embedded model, with its own numbers, so that scores can be compared."""
    store.mkdir(parents=True, exist_ok=True)
    template = store / "template.jinja"
    template.write_text(TEMPLATE, encoding="utf-8")
    command = [sys.executable, "-m", "archive", "--model", str(MODEL_DIRECTORY), "--name", MODEL]
    command += ["--precision", "fp32", "--chat-template", str(template), "--output", str(store)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


class Served:
    """A gateway of its own for the clients."""

    def __init__(self, folder: Path) -> None:
        store = folder / "store"
        pack(store)
        settings = {
            "MODEL_NAME": MODEL,
            "MODEL_ARCHIVE": f"{MODEL}.mar",
            "LOCAL_MANAGEMENT": "true",
            "MANAGEMENT_KEY": "",
            "CORS_ORIGINS": "*",
        }
        self._service = Service(store, folder / "service.log", settings)
        self.url = f"http://127.0.0.1:{self._service.port}"
        asked = {"prompt": PROMPT, **GREEDY}
        self.text: str = self._ask("/v1/completions", asked)["choices"][0]["text"]
        talk = {"messages": [{"role": "user", "content": PROMPT}], **GREEDY}
        answer = self._ask("/v1/chat/completions", talk)["choices"][0]["message"]
        self.answer: str = answer["content"]

    def stop(self) -> None:
        """End it."""
        self._service.stop()

    def variables(self) -> dict[str, str]:
        """What a client's program gets in its environment."""
        return {
            "SERVICE_URL": self.url,
            "SERVICE_MODEL": MODEL,
            "MODEL_DIRECTORY": str(MODEL_DIRECTORY),
            "PROMPT": PROMPT,
            "TEXT": self.text,
            "ANSWER": self.answer,
        }

    def count(self, name: str) -> float:
        """The sum of a metric's samples; `name` may have labels."""
        with contextlib.closing(self._connection()) as made:
            made.request("GET", "/metrics")
            text = made.getresponse().read().decode()
        pattern = re.compile(re.escape(name) + r"(?:\{[^}]*\})? (\S+)")
        return sum(float(found[1]) for found in map(pattern.fullmatch, text.splitlines()) if found)

    @property
    def left(self) -> float:
        """Requests whose clients have left them."""
        return self.count('gpt2_request_failure_total{reason="client_gone"}')

    @property
    def refused(self) -> float:
        """Requests that were refused, as the service was full."""
        with contextlib.closing(self._connection()) as made:
            made.request("GET", "/metrics")
            text = made.getresponse().read().decode()
        lines = [line for line in text.splitlines() if line.startswith("gpt2_http_requests_total{")]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if 'status="429"' in line)

    def wait_until_left(self, before: float) -> bool:
        """Wait for one more to have been left; return whether that was seen."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.left > before:
                return True
            time.sleep(0.1)
        return False

    @contextlib.contextmanager
    def crowded(self) -> Iterator[None]:
        """Many completions are generated all the time."""
        is_over = threading.Event()

        def ask() -> None:
            while not is_over.is_set():
                self._ask("/v1/completions", CROWD)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            yield
        finally:
            is_over.set()
            asking.join()

    @contextlib.contextmanager
    def full_until_refused(self) -> Iterator[None]:
        """All slots and places are taken, until somebody was refused for that."""
        is_over = threading.Event()
        workers: list[psutil.Process] = self._service.family()["worker"]
        for worker in workers:
            worker.send_signal(signal.SIGSTOP)
        hogs = [_Hog(self._connection, body, is_over) for body in FULL]
        most = sum(int(body["n"]) for body in FULL)
        while self.count(_WAITING) + self.count(_RUNNING) < most:
            time.sleep(0.05)
        before = self.refused

        def free() -> None:
            while not is_over.is_set() and self.refused == before:
                time.sleep(0.1)
            is_over.set()
            for worker in workers:
                worker.send_signal(signal.SIGCONT)
            for hog in hogs:
                hog.leave()

        freeing = threading.Thread(target=free)
        freeing.start()
        try:
            yield
        finally:
            is_over.set()
            freeing.join()

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._service.port, timeout=PATIENCE)

    def _ask(self, path: str, value: Any) -> Any:
        status, body = self._service.post(path, value, PATIENCE)
        reply = json.loads(body)
        assert status == 200, reply
        return reply


_JSON = {"content-type": "application/json"}
_RUNNING, _WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"


class _Hog:
    """A stream that is not read; asked for again where it was refused."""

    def __init__(
        self,
        connect: Callable[[], http.client.HTTPConnection],
        body: dict[str, Any],
        is_over: threading.Event,
    ) -> None:
        self._connect = connect
        self._made = connect()
        threading.Thread(target=self._ask, args=(json.dumps(body), is_over), daemon=True).start()

    def _ask(self, body: str, is_over: threading.Event) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            while not is_over.is_set():
                self._made.request("POST", "/v1/completions", body, _JSON)
                if self._made.getresponse().status == 200:
                    return
                self._made = self._connect()
                time.sleep(0.1)

    def leave(self) -> None:
        """Close the connection, whoever waits for it."""
        with contextlib.suppress(OSError, AttributeError):
            self._made.sock.shutdown(socket.SHUT_RDWR)
        self._made.close()
