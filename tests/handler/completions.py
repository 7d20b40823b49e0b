"""Asks the handler in a real TorchServe, without a gateway."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psutil
import requests

from gateway.torchserve.process import TorchServe
from tests.patience import PATIENCE

TIMEOUT = PATIENCE
# What a gateway asks for frames with.
SECRET = "0123456789abcdef"
# OpenAI's route; TorchServe's own refuses an empty prompt.
COMPLETIONS = "/1.0/v1/completions"
# Requests whose client left.
LEFT = 'FinishedRequests{ModelName="gpt2",EndReason="abort"'


def url(server: TorchServe, route: str = "") -> str:
    return f"{server.settings.inference_url}/predictions/gpt2{route}"


def post(server: TorchServe, body: Any, route: str = "") -> requests.Response:
    return requests.post(url(server, route), json=body, timeout=TIMEOUT)


def text(server: TorchServe, **body: Any) -> str:
    response = post(server, body, COMPLETIONS)
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["text"])


def worker_of(server: TorchServe) -> psutil.Process:
    """The process that serves the model."""
    assert server.process is not None
    children = psutil.Process(server.process.pid).children(recursive=True)
    return next(p for p in children if "model_service_worker.py" in " ".join(p.cmdline()))


def metric(server: TorchServe, beginning: str) -> float:
    """The sum of the samples whose line begins so."""
    reply = requests.get(f"{server.settings.metrics_url}/metrics", timeout=TIMEOUT)
    lines = [line for line in reply.text.splitlines() if line.startswith(beginning)]
    return sum(float(line.split()[-1]) for line in lines)


def events(response: requests.Response) -> Iterator[Any]:
    """The data of each event, parsed; `[DONE]` as it is."""
    for line in response.iter_lines(chunk_size=1):
        if line.startswith(b"data: "):
            data = line[6:]
            yield "[DONE]" if data == b"[DONE]" else json.loads(data)


def stream(server: TorchServe, **body: Any) -> list[Any]:
    asked = {**body, "stream": True}
    response = requests.post(url(server, COMPLETIONS), json=asked, stream=True, timeout=TIMEOUT)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    return list(events(response))
