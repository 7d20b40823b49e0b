"""However the service ends, no process and no file of it is left."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.gateway.conftest import Service, StartService, wait_until
from tests.patience import PATIENCE

LONG = {"prompt": "A", "max_tokens": 900, "ignore_eos": True, "n": 4, "stream": True}
# Longer than any test waits: an end within it is none of the drain's.
DRAIN_SECONDS = "300"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder for temporary files, with a name so short that all of them are in it."""
    with tempfile.TemporaryDirectory(prefix="ends-") as folder:
        yield Path(folder)


def is_gone(service: Service, family: list[Any], place: Path) -> None:
    """Wait until nothing of a service is left that has ended."""
    wait_until(lambda: not any(process.is_running() for process in family))
    assert list(place.iterdir()) == []


def test_a_second_signal_ends_what_is_in_flight_at_once(
    start_service: StartService, place: Path
) -> None:
    service = start_service(TMPDIR=str(place), DRAIN_SECONDS=DRAIN_SECONDS)
    family = service.descendants()
    told: list[bytes] = []

    def stream() -> None:
        with service.post("/v1/completions", json=LONG, stream=True) as reply:
            for line in filter(None, reply.iter_lines(chunk_size=1)):
                told.append(line)

    streaming = threading.Thread(target=stream)
    streaming.start()
    wait_until(lambda: bool(told))
    service.workers()[0].send_signal(signal.SIGSTOP)  # so that nothing ends by itself
    service.process.send_signal(signal.SIGTERM)
    wait_until(lambda: service.get("/health/ready").status_code == 503)
    assert service.process.poll() is None
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(PATIENCE) == 0
    streaming.join(PATIENCE)
    assert told[-1] == b"data: [DONE]" and b'"code": "drained"' in told[-2]
    is_gone(service, family, place)


def test_a_second_signal_ends_who_waits_for_a_worker_too(
    start_service: StartService, place: Path
) -> None:
    service = start_service(TMPDIR=str(place), DRAIN_SECONDS=DRAIN_SECONDS)
    family = service.descendants()
    replies: list[requests.Response] = []
    asking = threading.Thread(
        target=lambda: replies.append(service.complete(max_tokens=400, ignore_eos=True))
    )
    service.workers()[0].send_signal(signal.SIGSTOP)
    asking.start()
    wait_until(lambda: service.metric("vllm:num_requests_running") == 1)
    for _ in range(2):
        service.process.send_signal(signal.SIGINT)
        wait_until(
            lambda: service.process.poll() is not None or "Shutting down" in str(service.log)
        )
    assert service.process.wait(PATIENCE) == 0
    asking.join(PATIENCE)
    assert replies[0].status_code == 503 and replies[0].json()["error"]["code"] == "drained"
    is_gone(service, family, place)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_before_the_model_is_ready_leaves_nothing(
    start_service: StartService, place: Path, number: signal.Signals
) -> None:
    service = start_service(ready=False, TMPDIR=str(place))
    wait_until(lambda: any(place.iterdir()) and bool(service.descendants()))
    family = service.descendants()
    service.process.send_signal(number)
    assert service.process.wait(PATIENCE) == 0
    is_gone(service, family, place)
