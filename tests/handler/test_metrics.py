"""What TorchServe's metrics tell of the handler's work."""

from __future__ import annotations

import time
from contextlib import closing

import requests

from gateway.torchserve.process import TorchServe
from tests.handler.completions import TIMEOUT, events, text, url


def test_metrics_count_requests_and_tokens(torchserve: TorchServe) -> None:
    def generated() -> float:
        metrics = requests.get(f"{torchserve.settings.metrics_url}/metrics", timeout=TIMEOUT).text
        lines = [line for line in metrics.splitlines() if line.startswith("GenerationTokens{")]
        return float(lines[0].split()[-1]) if lines else 0.0

    text(torchserve, prompt="The", max_tokens=1)
    before = generated()
    text(torchserve, prompt="The", max_tokens=17, ignore_eos=True)
    deadline = time.monotonic() + 10
    while generated() < before + 17 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert generated() == before + 17


def test_metrics_tell_time_in_the_queue_from_time_to_the_first_token_and_who_left(
    torchserve: TorchServe,
) -> None:
    def value(name: str) -> float:
        metrics = requests.get(f"{torchserve.settings.metrics_url}/metrics", timeout=TIMEOUT).text
        lines = [line for line in metrics.splitlines() if line.startswith(name)]
        return sum(float(line.split()[-1]) for line in lines)

    def grows(name: str, before: float) -> float:
        deadline = time.monotonic() + 10
        while value(name) <= before and time.monotonic() < deadline:
            time.sleep(0.1)
        return value(name) - before

    queue, first = value("QueueSeconds_sum"), value("TimeToFirstToken_sum")
    gap = value("InterTokenLatency_count")
    text(torchserve, prompt=list(range(1, 500)), max_tokens=5, ignore_eos=True)
    to_first = grows("TimeToFirstToken_sum", first)
    assert grows("InterTokenLatency_count", gap) == 1
    assert 0 <= value("QueueSeconds_sum") - queue < to_first / 2  # the rest was reading the prompt

    left = 'FinishedRequests{ModelName="gpt2",EndReason="abort"'
    before = value(left)
    body = {"prompt": "Once", "stream": True, "max_tokens": 480, "ignore_eos": True}
    with closing(
        requests.post(url(torchserve), json=body, stream=True, timeout=TIMEOUT)
    ) as response:
        next(events(response))
    text(torchserve, prompt="The", max_tokens=2)  # who left is seen with the next step
    assert grows(left, before) == 1
