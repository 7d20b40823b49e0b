"""Settings that change what a client sees, each at work in a real service."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import requests

from handler.engine.container import available_cpus
from tests.conftest import free_ports
from tests.gateway.conftest import Service, StartService, wait_until

THREADS = available_cpus() + 1  # one more than without the setting


@pytest.fixture(scope="module")
def own(start_service: StartService) -> Service:
    return start_service(
        ROUTE_GENERATE="/write",
        N_TOKENS="7",
        THREADS_PER_REPLICA=str(THREADS),
        MANAGEMENT_KEY="",
        LOCAL_MANAGEMENT="true",
    )


def test_the_plain_route_is_where_it_was_put(own: Service) -> None:
    assert own.post("/write", json={"input": "A dog"}).json()["body"]["generated"]
    assert own.post("/generate", json={"input": "A dog"}).status_code == 404


@pytest.mark.parametrize(
    ("path", "field"), [("/write", "input"), ("/v1/completions", "prompt")], ids=["plain", "openai"]
)
def test_a_text_is_as_long_as_it_was_set(own: Service, path: str, field: str) -> None:
    before = own.metric("vllm:generation_tokens_total")
    assert own.post(path, json={field: "Once upon a time"}).status_code == 200
    assert own.metric("vllm:generation_tokens_total") == before + 7


def engine_threads(service: Service) -> int:
    """How many threads a worker's engine has beside the one that calls it."""
    tasks = Path(f"/proc/{service.workers()[0].pid}/task").iterdir()
    return sum((task / "comm").read_text() == "gpt2-step\n" for task in tasks)


def test_a_worker_has_the_threads_that_were_set(own: Service, service: Service) -> None:
    assert engine_threads(own) == engine_threads(service) + 1


def test_this_machine_manages_without_a_key_where_that_is_set(own: Service) -> None:
    assert own.get("/models").json()["models"][0]["modelName"] == "gpt2"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://localhost:8080"},
        {"host": "rebound.example"},
        {"x-forwarded-for": "127.0.0.1"},
        {"sec-fetch-site": "cross-site"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_nobody_else_manages_without_a_key(own: Service, headers: dict[str, str]) -> None:
    reply = own.get("/models", headers=headers)
    assert reply.status_code == 403 and reply.json()["error"]["code"] == "management_closed"


def test_nobody_manages_without_a_key_where_that_is_not_set(start_service: StartService) -> None:
    (port,) = free_ports(1)
    closed = start_service(ready=False, PORT=str(port), MANAGEMENT_KEY="")
    closed.url = f"http://127.0.0.1:{port}"

    def lives() -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return closed.get("/health/live").status_code == 200
        return False

    wait_until(lives)
    reply = closed.get("/models")
    assert reply.status_code == 403 and reply.json()["error"]["code"] == "management_closed"
