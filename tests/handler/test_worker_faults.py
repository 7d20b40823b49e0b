"""A real TorchServe whose worker or Java dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import psutil
import pytest
import requests

from gateway.torchserve.process import TorchServe
from tests.conftest import running_torchserve
from tests.handler.completions import TIMEOUT, events, text, url, worker_of
from tests.patience import PATIENCE


@pytest.fixture
def own_torchserve(model_store: Path) -> Iterator[TorchServe]:
    """A TorchServe that a test may break."""
    with running_torchserve(model_store) as server:
        yield server


def test_a_killed_worker_ends_its_streams_and_the_next_request_is_served(
    own_torchserve: TorchServe,
) -> None:
    begun = Barrier(5)

    def read_until_it_ends() -> list[Any]:
        body = {"prompt": "Once", "stream": True, "max_tokens": 480, "ignore_eos": True}
        response = requests.post(url(own_torchserve), json=body, stream=True, timeout=TIMEOUT)
        coming = events(response)
        seen = [next(coming)]
        begun.wait(TIMEOUT)
        try:
            seen.extend(coming)
        except requests.RequestException as error:
            assert "timed out" not in str(error), "it did not end"
        return seen

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read_until_it_ends) for _ in range(4)]
        begun.wait(TIMEOUT)
        os.kill(worker_of(own_torchserve).pid, signal.SIGKILL)
        for reader in readers:
            assert "[DONE]" not in reader.result()
    own_torchserve.wait_ready()
    assert text(own_torchserve, prompt="The", max_tokens=2)


def test_nothing_is_left_when_torchserve_is_stopped_or_killed(own_torchserve: TorchServe) -> None:
    worker = worker_of(own_torchserve)
    java = own_torchserve.process
    assert java is not None
    java.kill()
    psutil.wait_procs([worker], timeout=PATIENCE)
    assert not worker.is_running()
