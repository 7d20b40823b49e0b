"""What happens at each bound, and that it is told."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.conftest import free_ports
from tests.gateway.conftest import Service, StartService, wait_until
from tests.patience import PATIENCE


@pytest.fixture(scope="module")
def bounded(start_service: StartService) -> Service:
    return start_service(
        MAX_WAITING="4",
        MAX_BODY_BYTES="20000",
        MAX_HEADER_BYTES="8000",
        HEADER_SECONDS="6",
        BODY_SECONDS="2",
        WRITE_SECONDS="4",
        MAX_CONNECTIONS="1500",
        MAX_TOKENS_PER_REQUEST="16000",
        HOST="https://page.example/",
        CORS_ORIGINS="https://friend.example",
        TRUSTED_PROXY_HOPS="1",
    )


@contextlib.contextmanager
def connection(service: Service) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as made:
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
        slow = []
        for _ in range(1000):
            slow.append(stack.enter_context(connection(bounded)))
            slow[-1].sendall(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\nx-slow")
        assert bounded.complete(max_tokens=20).status_code == 200
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
        wait_until(lambda: service.metric("vllm:num_requests_running") == 8)
        yield made


def test_a_reader_that_takes_nothing_is_dropped(bounded: Service) -> None:
    with slow_reader(bounded):
        wait_until(lambda: bounded.metric("vllm:num_requests_running") == 0)


def test_a_reader_that_takes_a_little_now_and_then_is_dropped(bounded: Service) -> None:
    with slow_reader(bounded) as made:
        deadline = time.monotonic() + PATIENCE
        with contextlib.suppress(ConnectionError):
            while bounded.metric("vllm:num_requests_running"):
                assert time.monotonic() < deadline, "it holds its slots for ever"
                made.recv(4096)
                time.sleep(0.5)


def read_slowly(service: Service, pause: float) -> tuple[int, dict[str, Any]]:
    """Read a whole reply of some 480 KB with a pause after each 4 KB.

    Returns how many bytes of it came, and its line in the log. Small segments keep the kernel from
    taking the whole reply in, as it would on a loopback interface.
    """
    asked = {"prompt": "the day " * 100, "max_tokens": 1, "n": 4, "logprobs": 20, "echo": True}
    body = json.dumps(asked).encode()
    name = f"slow-{pause:g}"
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000)
        made.connect(("127.0.0.1", service.port))
        head = "POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        head += f"x-request-id: {name}\r\ncontent-length: {len(body)}\r\n\r\n"
        made.sendall(head.encode() + body)
        taken = 0
        lines: list[dict[str, Any]] = []
        with contextlib.suppress(ConnectionError):
            while (piece := made.recv(4096)) and not any("aborted" in line for line in lines):
                taken += len(piece)
                if pause:
                    time.sleep(pause)
                    lines = [r for r in service.records() if r.get("request_id") == name]
    wait_until(lambda: any(r.get("request_id") == name for r in service.records()))
    return taken, next(r for r in service.records() if r.get("request_id") == name)


def test_a_reader_of_a_whole_reply_gets_it_all_or_is_dropped_in_time(bounded: Service) -> None:
    taken, line = read_slowly(bounded, 0)
    assert taken > int(line["httpRequest"]["responseSize"]) and "aborted" not in line
    taken, line = read_slowly(bounded, 0.2)
    assert taken < int(line["httpRequest"]["responseSize"])
    assert line["aborted"] == "client_gone"
    # WRITE_SECONDS, for the one MiB that was begun; all of it would have taken the reader longer.
    whole = int(line["httpRequest"]["responseSize"]) / 4096 * 0.2
    assert 4 <= float(line["httpRequest"]["latency"].rstrip("s")) < whole


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


# Many only with the prompt's own tokens.
ECHO = {"prompt": ["the day " * 240] * 2, "n": 8, "max_tokens": 2, "logprobs": 20, "echo": True}


def test_more_than_may_wait_is_a_429_that_says_when_to_come_back(bounded: Service) -> None:
    statuses: list[requests.Response] = []

    def ask() -> None:
        options = {"n": 8, "max_tokens": 400, "ignore_eos": True}
        statuses.append(bounded.complete(**options))  # type: ignore[arg-type]

    asking = [threading.Thread(target=ask) for _ in range(8)]
    for thread in asking:
        thread.start()
    wait_until(lambda: any(reply.status_code == 429 for reply in statuses))
    worker = bounded.workers()[0]
    worker.send_signal(signal.SIGSTOP)  # it stays full for as long as is looked at
    try:
        ready = bounded.get("/health/ready").status_code
        again = bounded.complete(n=8, max_tokens=1).status_code
    finally:
        worker.send_signal(signal.SIGCONT)
    # Full is not unready: the platform would take the instance out, and all of its work with it.
    assert (ready, again) == (200, 429)
    for thread in asking:
        thread.join()
    refused = [reply for reply in statuses if reply.status_code == 429]
    assert 0 < len(refused) < 8
    assert all(reply.status_code in (200, 429) for reply in statuses)
    assert all(1 <= int(reply.headers["retry-after"]) <= 60 for reply in refused)
    assert refused[0].json()["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize(
    ("options", "param", "code"),
    [
        ({"prompt": ["a"] * 32, "n": 8}, "n", "too_many_texts"),
        ({"best_of": 37.0}, "n", "too_many_texts"),
        ({"prompt": ["a"] * 4, "n": 8, "max_tokens": 1000}, "max_tokens", "too_many_tokens"),
        ({"prompt": ["a"] * 4, "n": 8.0, "max_tokens": 1e3}, "max_tokens", "too_many_tokens"),
        (ECHO, "logprobs", "too_many_logprobs"),
    ],
)
def test_one_request_may_not_ask_for_everything(
    bounded: Service, options: dict[str, object], param: str, code: str | None
) -> None:
    reply = bounded.post("/v1/completions", json=options)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["param"], error["code"]) == (param, code)


def test_what_is_not_echoed_is_not_counted(bounded: Service) -> None:
    options = {**ECHO, "echo": False}
    assert bounded.post("/v1/completions", json=options).status_code == 200


def test_log_probabilities_are_bounded_as_it_was_set(start_service: StartService) -> None:
    service = start_service(MAX_LOGPROBS_PER_REQUEST="30")
    assert service.complete(max_tokens=10, logprobs=2).status_code == 200
    refused = service.complete(max_tokens=11, logprobs=2)
    assert refused.status_code == 400
    assert "33 values; at most 30" in refused.json()["error"]["message"]


def test_only_listed_origins_may_call_from_a_browser(bounded: Service) -> None:
    def preflight(origin: str) -> requests.Response:
        headers = {"origin": origin, "access-control-request-method": "POST"}
        return requests.options(bounded.url + "/v1/completions", headers=headers, timeout=PATIENCE)

    friend = preflight("https://friend.example")
    assert friend.status_code == 204
    assert friend.headers["access-control-allow-origin"] == "https://friend.example"
    stranger = preflight("https://stranger.example")
    assert "access-control-allow-origin" not in stranger.headers
    assert preflight("https://page.example").status_code == 204  # of HOST


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("authorization,content-type,x-stainless-arch,x-stainless-os", True),
        ("X-Odd_Name.1, x-other", True),
        ("x-" + "y" * 3000, True),
        ("x-a; x-b", False),
        ("x-a: 1", False),
        ("", False),
    ],
)
def test_whatever_headers_a_browser_asks_for_are_allowed(
    bounded: Service, asked: str, answered: bool
) -> None:
    def preflight(origin: str) -> requests.structures.CaseInsensitiveDict[str]:
        headers = {"origin": origin, "access-control-request-method": "POST"}
        headers["access-control-request-headers"] = asked
        url = bounded.url + "/v1/completions"
        return requests.options(url, headers=headers, timeout=PATIENCE).headers

    allowed = preflight("https://friend.example").get("access-control-allow-headers")
    assert allowed == (asked if answered else None)
    assert "access-control-allow-headers" not in preflight("https://stranger.example")


@pytest.mark.parametrize(
    ("options", "status"), [({}, 200), ({"stream": True}, 200), ({"n": 0}, 400)]
)
def test_a_page_of_an_allowed_origin_may_read_the_reply_itself(
    bounded: Service, options: dict[str, object], status: int
) -> None:
    def ask(origin: str) -> requests.Response:
        value = {"prompt": "A", "max_tokens": 2} | options
        return bounded.post("/v1/completions", json=value, headers={"origin": origin})

    for origin in ("https://friend.example", "https://page.example"):
        reply = ask(origin)
        assert reply.status_code == status
        assert reply.headers["access-control-allow-origin"] == origin
        assert "x-request-id" in reply.headers["access-control-expose-headers"]
        assert reply.headers["vary"] == "origin"
    assert "access-control-allow-origin" not in ask("https://stranger.example").headers


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
    wait_until(lambda: any("Redis does not count (ConnectionError" in line for line in second.log))


@pytest.mark.skipif(not shutil.which("redis-server"), reason="needs Debian's redis-server")
def test_what_redis_says_against_it_is_in_the_log(start_service: StartService) -> None:
    port = str(free_ports(1)[0])
    command = ["redis-server", "--port", port, "--save", "", "--bind", "127.0.0.1"]
    redis = subprocess.Popen([*command, "--requirepass", "secret"], stdout=subprocess.DEVNULL)
    try:
        url = f"redis://127.0.0.1:{port}"
        service = start_service(REQUESTS_PER_MINUTE="4", REDIS_URL=url)
        assert [service.get("/v1/models").status_code for _ in range(5)] == [200] * 4 + [429]
        wait_until(lambda: any("Redis does not count" in line for line in service.log))
    finally:
        redis.terminate()
        redis.wait()
    [line] = [line for line in service.log if "Redis does not count" in line]
    assert "(AuthenticationError: " in line and "authenticate the client" in line
