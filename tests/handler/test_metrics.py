"""What TorchServe's metrics tell of the handler's work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import requests

from gateway.torchserve.process import TorchServe
from tests.conftest import running_torchserve
from tests.handler.completions import LEFT, TIMEOUT, events, metric, text, url
from tests.patience import wait_until


@pytest.fixture(scope="module")
def counting(model_store: Path) -> Iterator[TorchServe]:
    """A TorchServe that nobody else asks anything."""
    with running_torchserve(model_store) as server:
        yield server


def growth(server: TorchServe, name: str, before: float) -> float:
    """How much a metric has grown; what TorchServe tells, it reads in its workers' logs."""
    wait_until(lambda: metric(server, name) > before)
    return metric(server, name) - before


def test_metrics_count_requests_and_tokens(counting: TorchServe) -> None:
    before = metric(counting, "GenerationTokens{")
    text(counting, prompt="The", max_tokens=17, ignore_eos=True)
    assert growth(counting, "GenerationTokens{", before) == 17


def test_metrics_tell_time_in_the_queue_from_time_to_the_first_token(counting: TorchServe) -> None:
    queue, first = metric(counting, "QueueSeconds_sum"), metric(counting, "TimeToFirstToken_sum")
    gap = metric(counting, "InterTokenLatency_count")
    text(counting, prompt=list(range(1, 500)), max_tokens=5, ignore_eos=True)
    assert growth(counting, "InterTokenLatency_count", gap) == 1
    to_first = growth(counting, "TimeToFirstToken_sum", first)
    assert 0 <= metric(counting, "QueueSeconds_sum") - queue < to_first  # that read the prompt too


def test_metrics_tell_who_left(counting: TorchServe) -> None:
    before = metric(counting, LEFT)
    body = {"prompt": "Once", "stream": True, "max_tokens": 480, "ignore_eos": True}
    with closing(requests.post(url(counting), json=body, stream=True, timeout=TIMEOUT)) as response:
        next(events(response))
    text(counting, prompt="The", max_tokens=2)  # who left is seen with the next step
    assert growth(counting, LEFT, before) == 1
