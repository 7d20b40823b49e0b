"""What happens at each bound, and that it is told."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
import requests

from tests.conftest import free_ports
from tests.gateway.conftest import ROOT, Service, StartService, wait_until


@pytest.fixture(scope="module")
def bounded(start_service: StartService) -> Service:
    return start_service(
        MAX_WAITING="4",
        MAX_BODY_BYTES="20000",
        MAX_HEADER_BYTES="8000",
        HEADER_SECONDS="2",
        BODY_SECONDS="2",
        WRITE_SECONDS="2",
        MAX_CONNECTIONS="1500",
        MAX_TOKENS_PER_REQUEST="16000",
        CORS_ORIGINS="https://friend.example",
        TRUSTED_PROXY_HOPS="1",
    )


@contextlib.contextmanager
def connection(service: Service) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as made:
        yield made


def read_all(made: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := made.recv(65536):
            received += piece
    return received


def test_a_long_body_is_a_413(bounded: Service) -> None:
    reply = bounded.post("/v1/completions", data=b"x" * 20_001)
    assert reply.status_code == 413
    assert "20000" in reply.json()["error"]["message"]


def test_a_body_that_never_ends_is_cut_off(bounded: Service) -> None:
    with connection(bounded) as made:
        made.sendall(b"POST /generate HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 50_000_000:
                made.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                sent += 4096
        assert sent < 50_000_000
    wait_until(lambda: any(r.get("error") == "body_too_large" for r in bounded.records()))


def test_a_body_that_comes_too_slowly_is_a_408(bounded: Service) -> None:
    with connection(bounded) as made:
        made.sendall(b"POST /generate HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        assert read_all(made).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("pieces", [1, 20])
def test_a_megabyte_of_headers_is_a_431(bounded: Service, pieces: int) -> None:
    block = b"".join(b"x-%d: %s\r\n" % (n, b"y" * 1000) for n in range(1000))
    with connection(bounded) as made:
        step = len(block) // pieces + 1
        with contextlib.suppress(ConnectionError):
            made.sendall(b"GET /health/live HTTP/1.1\r\nhost: x\r\n")
            for start in range(0, len(block), step):
                made.sendall(block[start : start + step])
                time.sleep(0.01)
            received = made.recv(65536)
            assert received.startswith(b"HTTP/1.1 431 "), received
    assert bounded.get("/health/live").status_code == 200


def test_one_header_that_never_ends_is_cut_off(bounded: Service) -> None:
    with connection(bounded) as made:
        made.sendall(b"GET / HTTP/1.1\r\nx-long: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                made.sendall(b"y" * 10_000)
                time.sleep(0.005)
            raise AssertionError("it was never cut off")


def test_a_thousand_slow_connections_are_all_told(bounded: Service) -> None:
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connection(bounded)) for _ in range(1000)]
        for made in slow:
            made.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\nx-slow")
        assert bounded.complete(max_tokens=20).status_code == 200
        time.sleep(2.2)
        assert all(read_all(made).startswith(b"HTTP/1.1 408 ") for made in slow)


@contextlib.contextmanager
def slow_reader(service: Service) -> Iterator[socket.socket]:
    """A connection with a large stream on it and next to no room for it."""
    body = b'{"prompt": "A", "n": 8, "max_tokens": 900, "ignore_eos": true, "logprobs": 20, '
    body += b'"stream": true}'
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.connect(("127.0.0.1", service.port))
        head = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
        made.sendall(head % len(body) + body)
        wait_until(lambda: service.metric("gpt2_num_requests_running") == 8)
        yield made


def test_a_reader_that_takes_nothing_is_dropped(bounded: Service) -> None:
    with slow_reader(bounded):
        wait_until(lambda: bounded.metric("gpt2_num_requests_running") == 0)


def test_a_reader_that_takes_a_little_now_and_then_is_dropped(bounded: Service) -> None:
    with slow_reader(bounded) as made:
        deadline = time.monotonic() + 30
        with contextlib.suppress(ConnectionError):
            while bounded.metric("gpt2_num_requests_running"):
                assert time.monotonic() < deadline, "it holds its slots for ever"
                made.recv(4096)
                time.sleep(0.5)


def test_bodies_together_have_a_bound(start_service: StartService) -> None:
    service = start_service(MAX_BODY_BYTES="50000", MAX_BODIES_BYTES="100000")
    head = b"POST /generate HTTP/1.1\r\nhost: x\r\ncontent-length: 49000\r\n\r\n"
    text = {"input": "A dog. " * 500}

    def status() -> int:
        return service.post("/generate", json=text).status_code

    with connection(service) as first, connection(service) as second:
        for made in (first, second):
            made.sendall(head + b"x" * 48_900)
        wait_until(lambda: status() == 503)
        full = service.post("/generate", json=text)
        assert full.json()["error"]["code"] == "full" and int(full.headers["retry-after"]) >= 1
        assert service.get("/health/ready").status_code == 200
    wait_until(lambda: status() != 503)


OPEN_FILES = """
import logging, resource, sys
logging.basicConfig()
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from gateway.server import affordable_connections
print(affordable_connections(wanted), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("hard", "connections", "files", "warns"), [(4000, 1000, 1320, False), (900, 580, 900, True)]
)
def test_the_bound_of_open_files_is_raised_as_far_as_it_goes(
    hard: int, connections: int, files: int, warns: bool
) -> None:
    command = [sys.executable, "-c", OPEN_FILES, "256", str(hard), "1000"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout.split() == [str(connections), str(files)]
    assert ("MAX_CONNECTIONS is 1000" in ended.stderr) is warns


def test_more_than_may_wait_is_a_429_that_says_when_to_come_back(bounded: Service) -> None:
    statuses: list[requests.Response] = []

    def ask() -> None:
        options = {"n": 8, "max_tokens": 400, "ignore_eos": True}
        statuses.append(bounded.complete(**options))  # type: ignore[arg-type]

    asking = [threading.Thread(target=ask) for _ in range(8)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    refused = [reply for reply in statuses if reply.status_code == 429]
    assert 0 < len(refused) < 8
    assert all(reply.status_code in (200, 429) for reply in statuses)
    assert all(1 <= int(reply.headers["retry-after"]) <= 60 for reply in refused)
    assert refused[0].json()["error"]["type"] == "rate_limit_error"
    assert bounded.get("/health/ready").status_code == 200


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"prompt": ["a"] * 32, "n": 8}, "n"),
        ({"prompt": ["a"] * 4, "n": 8, "max_tokens": 1000}, "max_tokens"),
        ({"n": 8, "max_tokens": 1000, "logprobs": 20, "echo": True, "prompt": ["a", "b"]}, None),
    ],
)
def test_one_request_may_not_ask_for_everything(
    bounded: Service, options: dict[str, object], param: str | None
) -> None:
    reply = bounded.post("/v1/completions", json=options)
    assert reply.status_code == 400
    assert param is None or reply.json()["error"]["param"] == param


def test_only_listed_origins_may_call_from_a_browser(bounded: Service) -> None:
    def preflight(origin: str) -> requests.Response:
        headers = {"origin": origin, "access-control-request-method": "POST"}
        return requests.options(bounded.url + "/v1/completions", headers=headers, timeout=10)

    friend = preflight("https://friend.example")
    assert friend.status_code == 204
    assert friend.headers["access-control-allow-origin"] == "https://friend.example"
    stranger = preflight("https://stranger.example")
    assert "access-control-allow-origin" not in stranger.headers


def test_requests_a_minute_are_counted_for_each_address(start_service: StartService) -> None:
    service = start_service(REQUESTS_PER_MINUTE="3", TRUSTED_PROXY_HOPS="1")

    def ask(address: str) -> requests.Response:
        return service.get("/v1/models", headers={"x-forwarded-for": f"6.6.6.6, {address}"})

    replies = [ask("1.1.1.1") for _ in range(5)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429, 429]
    assert 1 <= int(replies[-1].headers["retry-after"]) <= 60
    assert ask("2.2.2.2").status_code == 200


@pytest.mark.skipif(not shutil.which("redis-server"), reason="needs Debian's redis-server")
def test_two_instances_count_together_in_redis_and_alone_without(
    start_service: StartService,
) -> None:
    port = str(free_ports(1)[0])
    command = ["redis-server", "--port", port, "--save", "", "--bind", "127.0.0.1"]
    redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        settings = {"REQUESTS_PER_MINUTE": "4", "REDIS_URL": f"redis://127.0.0.1:{port}/0"}
        first = start_service(ready=False, **settings)
        second = start_service(**settings)
        first.wait_ready()
        asked = [service.get("/v1/models").status_code for service in (first, second) * 3]
        assert asked == [200, 200, 200, 200, 429, 429]
    finally:
        redis.terminate()
        redis.wait()
    alone = [second.get("/v1/models").status_code for _ in range(5)]
    assert alone == [200, 200, 200, 200, 429]
    wait_until(lambda: any("Redis does not answer" in line for line in second.log))
