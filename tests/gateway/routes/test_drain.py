"""Nobody is left without an answer when the service shuts down."""

from __future__ import annotations

import signal
import socket
import threading
import time

import requests

from tests.gateway.conftest import Service, StartService, wait_until
from tests.patience import PATIENCE

UNFINISHED = b"POST /generate HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"


def later(
    service: Service, path: str, **body: object
) -> tuple[threading.Thread, list[requests.Response]]:
    replies: list[requests.Response] = []
    asking = threading.Thread(target=lambda: replies.append(service.post(path, json=body)))
    asking.start()
    return asking, replies


def test_who_waits_for_a_worker_is_told_at_once(start_service: StartService) -> None:
    """Long before the drain, or the wait for a worker, ends by itself."""
    service = start_service(RETRY_SECONDS="600", DRAIN_SECONDS="600")
    next(p for p in service.descendants() if "java" in p.name()).kill()
    wait_until(lambda: service.get("/health/ready").status_code == 503)
    asking, replies = later(service, "/v1/completions", prompt="A", max_tokens=2)
    wait_until(lambda: service.metric("vllm:num_requests_running") == 1)
    service.process.send_signal(signal.SIGTERM)
    asking.join(PATIENCE)
    assert replies, "nobody was told"
    assert replies[0].status_code == 503 and replies[0].json()["error"]["code"] == "drained"
    assert int(replies[0].headers["retry-after"]) >= 1
    assert service.process.wait(PATIENCE) == 0


def test_a_question_that_was_asked_before_gets_its_answer(start_service: StartService) -> None:
    service = start_service(DRAIN_SECONDS="60")
    worker = service.workers()[0]
    worker.send_signal(signal.SIGSTOP)
    asking, replies = later(service, "/v1/tokenize", text="A dog")
    wait_until(lambda: service.metric("vllm:num_requests_running") == 1)
    service.process.send_signal(signal.SIGTERM)
    time.sleep(1)
    worker.send_signal(signal.SIGCONT)
    asking.join(PATIENCE)
    assert replies[0].status_code == 200, replies[0].text
    assert service.process.wait(PATIENCE) == 0


def test_what_is_unfinished_at_its_end_is_told(start_service: StartService) -> None:
    service = start_service(DRAIN_SECONDS="1")
    service.workers()[0].send_signal(signal.SIGSTOP)  # nothing that is asked will ever be done
    asking, replies = later(service, "/v1/completions", prompt="A", max_tokens=2)
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as made:
        made.sendall(UNFINISHED)
        wait_until(lambda: service.metric("vllm:num_requests_running") == 1)
        service.process.send_signal(signal.SIGTERM)
        received = b"".join(iter(lambda: made.recv(65536), b""))  # until it is closed
        asking.join(PATIENCE)
        assert service.process.wait(PATIENCE) == 0
    assert replies[0].status_code == 503 and replies[0].json()["error"]["code"] == "drained"
    assert received.startswith(b"HTTP/1.1 503 ") and b"retry-after: " in received
    assert b'"code": "draining"' in received
