"""A request of which workers crash is found out; who was beside it is answered."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.gateway.conftest import Service, StartService, change_archive, events, wait_until
from tests.patience import PATIENCE

ENTRY = "        request, unknown = read(kind, body, is_strict=self._strict_fields)\n"
# The worker crashes as it would of a fault in C.
FAULT = (
    "        if isinstance(body, dict) and body.get('user') == 'poison':\n"
    "            import os, signal\n"
    "            os.kill(os.getpid(), signal.SIGSEGV)\n"
)
WAYS = 6  # of each neighbour: enough for all to be there still when that is looked at
LONG = {"prompt": "The old captain", "max_tokens": 400, "ignore_eos": True, "n": WAYS}


def start(start_service: StartService, store: Path, folder: Path, **settings: str) -> Service:
    change_archive(
        store / "gpt2.mar", folder / "gpt2.mar", "handler/service.py", ENTRY, FAULT + ENTRY
    )
    return start_service(store=folder, SKIP_SELF_TEST="1", **settings)


def crashes(service: Service) -> int:
    return sum("crashed: Fatal Python error" in line for line in service.log)


@pytest.fixture(scope="module")
def poisonable(
    start_service: StartService, model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    return start(start_service, model_store, tmp_path_factory.mktemp("poison"), MAX_RESTARTS="9")


@pytest.mark.parametrize("streams", [False, True])
def test_a_poisonous_request_is_refused_and_its_neighbours_are_answered(
    poisonable: Service, streams: bool
) -> None:
    service = poisonable
    before = crashes(service)
    expected = [
        [choice["text"] for choice in service.complete(**LONG, seed=seed).json()["choices"]]
        for seed in range(4)
    ]
    got: dict[int, Any] = {}

    def neighbour(seed: int) -> None:
        with service.complete(**LONG, seed=seed, stream=True) as reply:
            found = events(reply)
        got[seed] = [""] * WAYS
        for event in found[:-1]:
            got[seed][event["choices"][0]["index"]] += event["choices"][0]["text"]

    neighbours = [threading.Thread(target=neighbour, args=(seed,)) for seed in range(4)]
    for thread in neighbours:
        thread.start()
    wait_until(lambda: service.metric("vllm:num_requests_running") == 4 * WAYS)
    refused: requests.Response = service.complete(user="poison", stream=streams)
    assert refused.status_code == 422, refused.text
    assert refused.json()["error"]["code"] == "poison_request"
    for thread in neighbours:
        thread.join(PATIENCE)
    assert got == dict(enumerate(expected))
    # Together, together, alone. The log tells of a crash after the client has its answer.
    wait_until(lambda: crashes(service) - before == 3)


def test_a_service_whose_workers_crash_on_and_on_ends_with_their_last_words(
    start_service: StartService, model_store: Path, tmp_path: Path
) -> None:
    service = start(start_service, model_store, tmp_path, MAX_RESTARTS="2")
    family = service.descendants()
    with contextlib.suppress(requests.ConnectionError):
        service.complete(user="poison")
    assert service.process.wait(PATIENCE) == 1
    service.stop()
    assert "A worker crashed 3 times" in service.log[-1]
    assert "Segmentation fault" in service.log[-1]
    assert not [process for process in family if process.is_running()]
