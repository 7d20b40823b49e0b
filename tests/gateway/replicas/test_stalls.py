"""Slow is not stalled: what is worked on completes, what stands still is ended."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import psutil
import pytest
import requests

from tests.gateway.conftest import Service, StartService, change_archive, events, wait_until
from tests.patience import PATIENCE

STALL_SECONDS = 6
QUICK = "        self._end_overdue(outputs)\n        chunks"
# A model that takes its time over each step.
SLOW = "        self._end_overdue(outputs)\n        time.sleep(0.4)\n        chunks"
# 32 texts, as many as run at once.
MANY = {"prompt": ["A", "The", "One", "It"], "n": 8, "max_tokens": 40, "ignore_eos": True}
MANY["seed"] = 3


@pytest.fixture(scope="module")
def impatient(
    start_service: StartService, model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    store, file = tmp_path_factory.mktemp("slow"), "handler/engine/step_runner.py"
    change_archive(model_store / "gpt2.mar", store / "gpt2.mar", file, QUICK, SLOW)
    patience = {"STALL_SECONDS": str(STALL_SECONDS), "RETRY_SECONDS": str(int(PATIENCE))}
    return start_service(store=store, **patience)


def ask_many(service: Service, replies: list[requests.Response]) -> threading.Thread:
    asking = threading.Thread(target=lambda: replies.append(service.complete(**MANY)))  # type: ignore[arg-type]
    asking.start()
    return asking


def test_a_whole_reply_may_take_as_long_as_it_is_worked_on(impatient: Service) -> None:
    replies: list[requests.Response] = []
    began = time.monotonic()
    ask_many(impatient, replies).join()
    assert replies[0].status_code == 200, replies[0].text
    assert time.monotonic() - began > 2 * STALL_SECONDS, "it was too quick to tell"
    assert len(replies[0].json()["choices"]) == 32


def test_a_stream_may_wait_for_its_turn(impatient: Service) -> None:
    replies: list[requests.Response] = []
    before = [ask_many(impatient, replies) for _ in range(2)]
    wait_until(lambda: impatient.metric("vllm:num_requests_waiting") == 32)
    began = time.monotonic()
    with impatient.complete(max_tokens=3, seed=1, stream=True) as reply:
        assert reply.status_code == 200, reply.text
        assert time.monotonic() - began > 2 * STALL_SECONDS, "it was too quick to tell"
        data = events(reply)
    assert data[-2]["choices"][0]["finish_reason"] == "length" and data[-1] == "[DONE]"
    for thread in before:
        thread.join()
    assert [reply.status_code for reply in replies] == [200, 200]


def test_a_worker_that_stands_still_is_ended_and_its_requests_are_answered_by_the_next(
    impatient: Service,
) -> None:
    expected = [choice["text"] for choice in impatient.complete(**MANY).json()["choices"]]  # type: ignore[arg-type]
    replies: list[requests.Response] = []
    asking = ask_many(impatient, replies)
    wait_until(lambda: impatient.metric("vllm:num_requests_running") == 32)
    time.sleep(0.3)
    worker = impatient.workers()[0]
    worker.send_signal(signal.SIGSTOP)
    asking.join(PATIENCE)
    assert replies[0].status_code == 200, replies[0].text
    assert [choice["text"] for choice in replies[0].json()["choices"]] == expected
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def test_what_a_platform_froze_with_us_goes_on_where_it_stood(impatient: Service) -> None:
    """Cloud Run takes the processor from all of an instance: nobody stood still by a fault."""
    expected = [choice["text"] for choice in impatient.complete(**MANY).json()["choices"]]  # type: ignore[arg-type]
    replies: list[requests.Response] = []
    asking = ask_many(impatient, replies)
    wait_until(lambda: impatient.metric("vllm:num_requests_running") == 32)
    worker, before = impatient.workers()[0], len(impatient.log)
    gateway = psutil.Process(impatient.process.pid)
    frozen = [gateway, *gateway.children(recursive=True)]
    for process in frozen:
        process.suspend()
    time.sleep(STALL_SECONDS + 1)
    for process in frozen:
        process.resume()
    asking.join(PATIENCE)
    assert replies[0].status_code == 200, replies[0].text
    assert [choice["text"] for choice in replies[0].json()["choices"]] == expected
    assert [each.pid for each in impatient.workers()] == [worker.pid]
    said = impatient.log[before:]
    assert not [line for line in said if "stuck" in line or '"retried"' in line]
