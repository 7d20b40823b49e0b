"""What a client sees when something behind the gateway fails."""

from __future__ import annotations

import signal
import threading
import time

import psutil
import pytest
import requests

from tests.gateway.conftest import Service, StartService, events, wait_until

LONG = {"max_tokens": 900, "ignore_eos": True, "seed": 1}


@pytest.fixture(scope="module")
def fragile(start_service: StartService) -> Service:
    return start_service(STALL_SECONDS="3", MAX_RESTARTS="50")


@pytest.fixture(autouse=True)
def ready_again(fragile: Service) -> None:
    wait_until(lambda: fragile.get("/health/ready").status_code == 200, 60)


def test_a_stream_whose_worker_dies_ends_with_an_error_event(fragile: Service) -> None:
    with requests.post(
        fragile.url + "/v1/completions",
        json={"prompt": "A", "stream": True, "n": 8} | LONG,
        stream=True,
        timeout=30,
    ) as reply:
        lines = reply.iter_lines()
        next(lines)
        fragile.workers()[0].kill()
        rest = [line for line in lines if line.startswith(b"data: ")]
    assert b"worker_lost" in rest[-2]
    assert rest[-1] == b"data: [DONE]"


def test_a_whole_reply_whose_worker_dies_is_a_503_with_retry_after(fragile: Service) -> None:
    replies: list[requests.Response] = []
    asking = threading.Thread(
        target=lambda: replies.append(fragile.complete(n=8, **LONG)),  # type: ignore[arg-type]
    )
    asking.start()
    time.sleep(0.5)
    fragile.workers()[0].kill()
    asking.join(30)
    assert replies[0].status_code == 503
    assert replies[0].json()["error"]["code"] == "worker_lost"
    assert int(replies[0].headers["retry-after"]) >= 1


def test_who_comes_while_a_worker_is_coming_back_waits_for_it(fragile: Service) -> None:
    fragile.workers()[0].kill()
    wait_until(lambda: fragile.get("/health/ready").status_code == 503)
    assert fragile.complete(max_tokens=3).status_code == 200


def test_a_request_that_had_not_begun_is_sent_again(fragile: Service) -> None:
    worker = fragile.workers()[0]
    worker.send_signal(signal.SIGSTOP)  # it takes nothing more: what comes now does not begin
    replies: list[requests.Response] = []
    asking = threading.Thread(target=lambda: replies.append(fragile.complete(max_tokens=3)))
    asking.start()
    time.sleep(0.5)
    worker.kill()
    asking.join(40)
    assert replies[0].status_code == 200, replies[0].text
    wait_until(lambda: any(record.get("retried") for record in fragile.records()))


def test_a_reply_that_stands_still_is_ended(fragile: Service) -> None:
    with requests.post(
        fragile.url + "/v1/completions",
        json={"prompt": "A", "stream": True, "n": 8} | LONG,
        stream=True,
        timeout=30,
    ) as reply:
        lines = reply.iter_lines()
        next(lines)
        worker = fragile.workers()[0]
        worker.send_signal(signal.SIGSTOP)
        try:
            rest = [line for line in lines if line.startswith(b"data: ")]
            held = fragile.complete(max_tokens=3)
        finally:
            worker.send_signal(signal.SIGCONT)
    assert b"stalled" in rest[-2] and rest[-1] == b"data: [DONE]"
    assert held.status_code == 503 and held.json()["error"]["code"] == "stalled"


def test_a_client_that_leaves_frees_its_place_at_once(fragile: Service) -> None:
    reply = requests.post(
        fragile.url + "/v1/completions",
        json={"prompt": "A", "stream": True, "n": 8} | LONG,
        stream=True,
        timeout=30,
    )
    lines = reply.iter_lines()
    next(lines)
    assert fragile.metric("gpt2_num_requests_running") == 8
    reply.close()
    wait_until(lambda: fragile.metric("gpt2_num_requests_running") == 0, 5)


def test_torchserve_is_started_again_when_it_dies(fragile: Service) -> None:
    java = next(p for p in fragile.descendants() if "java" in p.name())
    workers = fragile.workers()
    java.kill()
    wait_until(lambda: fragile.get("/health/ready").status_code == 503)
    wait_until(lambda: fragile.get("/health/ready").status_code == 200, 60)
    with fragile.complete(max_tokens=4, stream=True) as reply:
        assert events(reply)[-1] == "[DONE]"
    assert not [worker for worker in workers if worker.is_running()]
    assert java.pid not in psutil.pids() or not java.is_running()


def test_who_comes_as_torchserve_dies_is_served_by_the_next_one(fragile: Service) -> None:
    next(p for p in fragile.descendants() if "java" in p.name()).kill()
    assert fragile.complete(max_tokens=3).status_code == 200
