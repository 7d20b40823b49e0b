"""Callers beside each other in the real service: turns, priorities and tokens."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.gateway.conftest import Service, StartService, wait_until


@pytest.fixture(scope="module")
def shared(start_service: StartService) -> Service:
    return start_service(
        API_KEYS="ann:a-key,bob:b-key,vip:v-key,poor:p-key",
        KEY_LIMITS="vip:priority=-5;poor:tokens_per_minute=40,tokens_per_day=1000",
        MAX_WAITING="1000",
        MAX_QUEUE_SECONDS="0",
    )


LONG = 200  # tokens: a crowd that asks for as many is still there when it has been looked at


def ask(service: Service, key: str, **options: object) -> float:
    """Ask for a completion; return when it had ended."""
    body = {"prompt": "A dog", "max_tokens": 40, "ignore_eos": True} | options
    headers = {"x-api-key": f"{key[0]}-key"}
    reply = service.post("/v1/completions", json=body, headers=headers)
    assert reply.status_code == 200, reply.text
    return time.monotonic()


@pytest.mark.parametrize("key", ["bob", "vip"])
def test_who_sends_one_request_does_not_wait_for_who_sends_many(shared: Service, key: str) -> None:
    many = 24
    with ThreadPoolExecutor(many + 1) as pool:
        # Eight sequences each: six times as many as there are slots.
        crowd = [pool.submit(ask, shared, "ann", n=8, max_tokens=LONG) for _ in range(many)]
        wait_until(lambda: shared.metric("vllm:num_requests_waiting") > 64)
        sent = time.monotonic()
        one = pool.submit(ask, shared, key)
        before = sum(sent < done.result() < one.result() for done in crowd)
    # Of the sixteen that are there at least, those that had their slots.
    assert before <= many / 3


def test_a_request_may_let_others_pass_but_not_push_ahead(shared: Service) -> None:
    with ThreadPoolExecutor(30) as pool:
        queued = {"n": 8, "max_tokens": LONG, "priority": 5}
        crowd = [pool.submit(ask, shared, "ann", **queued) for _ in range(20)]
        wait_until(lambda: shared.metric("vllm:num_requests_waiting") > 64)
        pushing = pool.submit(ask, shared, "ann", n=8, priority=-100)
        patient = pool.submit(ask, shared, "bob", n=8, priority=6)
        ends = sorted(done.result() for done in crowd)
        assert pushing.result() < ends[-4]  # it has the key's own priority, which is before 5
        assert patient.result() >= ends[-6]


def test_a_key_without_tokens_is_told_when_it_has_some_again(shared: Service) -> None:
    ask(shared, "poor")
    body = {"prompt": "A dog", "max_tokens": 1}
    refused = shared.post("/v1/completions", json=body, headers={"x-api-key": "p-key"})
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "token_budget"
    assert 1 <= int(refused.headers["retry-after"]) <= 120
    ask(shared, "bob", max_tokens=1)  # others are not concerned


def test_a_client_that_leaves_the_queue_frees_its_place(shared: Service) -> None:
    with ThreadPoolExecutor(12) as pool:
        crowd = [pool.submit(ask, shared, "ann", n=8, max_tokens=LONG) for _ in range(12)]
        wait_until(lambda: shared.metric("vllm:num_requests_waiting") > 32)
        with pytest.raises(OSError):
            requests.post(
                f"{shared.url}/v1/completions",
                json={"prompt": "A", "max_tokens": 1, "priority": 9},
                headers={"x-api-key": "b-key"},
                timeout=0.05,
            )
        assert all(done.result() for done in crowd)
    wait_until(lambda: shared.metric("vllm:num_requests_running") == 0)
