"""A connection's life: halves, refusals that arrive, and who gives way when all are taken."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.gateway.conftest import Service, StartStandIn, wait_until
from tests.gateway.raw_http import HOST, ask, parse, talk
from tests.patience import PATIENCE

GET = b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n"
KEY = "connection-secret"
KEPT = 4


@pytest.fixture(scope="module")
def gateway(start_stand_in: StartStandIn) -> Service:
    return start_stand_in(
        API_KEYS=KEY,
        LINGER_SECONDS="5",
        LINGER_BYTES="20000000",
        HEADER_SECONDS="300",
        BODY_SECONDS="300",
        MAX_CONNECTIONS="40",
        HEALTH_CONNECTIONS=str(KEPT),
    )


def request(path: str, body: bytes, *fields: bytes, version: bytes = b"1.1") -> bytes:
    head = b"POST %b HTTP/%b\r\n" % (path.encode(), version) + HOST
    head += b"authorization: Bearer %b\r\n" % KEY.encode()
    head += b"".join(field + b"\r\n" for field in fields)
    return head + b"content-length: %d\r\n\r\n%b" % (len(body), body)


def connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE)


@contextlib.contextmanager
def connections(service: Service, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(service)) for _ in range(count)]


def is_alive(made: socket.socket) -> bool:
    """Ask for the health on a connection that stays."""
    made.sendall(GET)
    received = b""
    while not received.endswith(b"}"):
        piece = made.recv(65536)
        if not piece:
            return False
        received += piece
    return received.startswith(b"HTTP/1.1 200 ")


# Halves


def test_who_says_no_more_gets_every_answer(gateway: Service) -> None:
    replies = ask(gateway.port, GET + request("/v1/tokenize", b'{"text": "A"}') + GET, ends=True)
    assert [reply.status for reply in replies] == [200, 200, 200]


@pytest.mark.parametrize(
    "sent",
    [GET[:-2], GET[:9], request("/v1/tokenize", b'{"text": "A"}')[:-1]],
    ids=["fields", "request line", "body"],
)
def test_what_is_not_sent_to_its_end_is_told_so(gateway: Service, sent: bytes) -> None:
    (reply,) = ask(gateway.port, sent, ends=True)
    assert reply.status == 400 and b"not sent completely" in reply.body


def test_a_text_comes_whole_to_who_says_no_more(service: Service) -> None:
    body = json.dumps({"prompt": "A", "max_tokens": 300, "ignore_eos": True}).encode()
    replies = ask(service.port, request("/v1/completions", body), ends=True)
    assert [reply.status for reply in replies if reply.status != 100] == [200]
    assert json.loads(replies[-1].body)["usage"]["completion_tokens"] == 300


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("streams", [False, True])
def test_who_leaves_frees_its_place(service: Service, version: bytes, streams: bool) -> None:
    # So many that they do not end by themselves before their client leaves.
    asked = {"prompt": "A", "max_tokens": 1000, "ignore_eos": True, "n": 15, "stream": streams}
    before = len(service.records())
    made = connect(service)
    made.sendall(request("/v1/completions", json.dumps(asked).encode(), version=version))
    wait_until(lambda: service.metric("vllm:num_requests_running") == 15)
    made.close()
    wait_until(lambda: service.metric("vllm:num_requests_running") == 0)

    def was_told() -> bool:  # other records may follow it
        return any(each.get("aborted") == "client_gone" for each in service.records()[before:])

    wait_until(was_told)


# HTTP/1.0


def test_a_stream_of_http_1_0_has_no_chunks_and_ends_with_the_connection(service: Service) -> None:
    body = b'{"prompt": "A", "max_tokens": 5, "stream": true, "ignore_eos": true}'
    fields = b"connection: keep-alive"
    (reply,) = ask(service.port, request("/v1/completions", body, fields, version=b"1.0"))
    assert "transfer-encoding" not in reply.headers and "content-length" not in reply.headers
    assert reply.headers["connection"] == "close"
    lines = [line for line in reply.body.split(b"\n\n") if line]
    assert all(line.startswith(b"data: ") for line in lines)
    assert len(lines) >= 2 and lines[-1] == b"data: [DONE]"


def test_http_1_0_stays_only_if_it_is_asked_to(gateway: Service) -> None:
    fields = b"connection: keep-alive\r\n\r\n"
    asked = b"GET /health/live HTTP/1.0\r\n"
    first, second = ask(gateway.port, asked + fields + asked + b"\r\n" + GET)
    assert first.headers["connection"] == "keep-alive"
    assert second.headers["connection"] == "close"


# What Java's HttpClient and curl offer


@pytest.mark.parametrize("coding", [[], ["-H", "Transfer-Encoding: chunked"]])
def test_curl_offers_http_2_and_its_body_is_kept(service: Service, coding: list[str]) -> None:
    text = "A dog and a fox"
    command = ["curl", "-sS", "--http2", "-H", "content-type: application/json", *coding]
    ended = subprocess.run(
        [*command, "--data-binary", json.dumps({"text": text}), f"{service.url}/v1/tokenize"],
        capture_output=True,
        text=True,
        check=True,
    )
    plain = service.post("/v1/tokenize", json={"text": text}).json()
    assert json.loads(ended.stdout) == plain


# Refusals arrive


@pytest.mark.parametrize(
    ("path", "key", "size", "status"),
    [
        ("/v1/completions", KEY, 15_000_000, 413),
        ("/v1/completions", "wrong", 15_000_000, 401),
        ("/nowhere", KEY, 15_000_000, 404),
        ("/health/live", KEY, 15_000_000, 405),
    ],
)
def test_a_refusal_arrives_while_the_client_still_writes(
    gateway: Service, path: str, key: str, size: int, status: int
) -> None:
    made = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)
    made.request("POST", path, body=b"x" * size, headers={"authorization": f"Bearer {key}"})
    assert made.getresponse().status == status
    made.close()


def test_a_refused_body_is_not_parsed(gateway: Service) -> None:
    """Its chunks are none, and nobody looks: who has no key is told of that alone."""
    head = b"POST /v1/tokenize HTTP/1.1\r\n" + HOST + b"transfer-encoding: chunked\r\n\r\n"
    (reply,) = ask(gateway.port, head + b"no chunk\r\n" + GET)
    assert reply.status == 401


def test_what_is_read_on_for_a_refusal_is_bounded_in_bytes(gateway: Service) -> None:
    with connect(gateway) as made:
        made.sendall(b"POST /nowhere HTTP/1.1\r\n" + HOST + b"content-length: 9000000000\r\n\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 100_000_000:
                made.sendall(b"x" * 100_000)
                sent += 100_000
    assert 20_000_000 <= sent < 40_000_000  # and what the kernel holds


def test_what_is_read_on_for_a_refusal_is_bounded_in_seconds(gateway: Service) -> None:
    with connect(gateway) as made:
        made.sendall(b"POST /nowhere HTTP/1.1\r\n" + HOST + b"content-length: 9000000000\r\n\r\n")
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < PATIENCE:
                made.sendall(b"x")
                time.sleep(0.05)
            raise AssertionError("it was never cut off")
    assert time.monotonic() - began > 4, "not by its bytes, which are few"


# When all are taken


def test_who_waits_longest_gives_way_and_nobody_is_kept_out(gateway: Service) -> None:
    with connections(gateway, 36) as idle:
        assert all(is_alive(made) for made in idle)
        assert is_alive(idle[0])  # which waits least long now
        assert ask(gateway.port, GET, ends=True)[0].status == 200
        assert idle[1].recv(1) == b"", "the one that waited longest"
        for _ in range(10):
            assert ask(gateway.port, GET, ends=True)[0].status == 200
        assert all(is_alive(made) for made in [idle[0], *idle[2:]]), "one had to go, not more"


@contextlib.contextmanager
def all_taken(service: Service) -> Iterator[None]:
    """Every connection has a request whose body does not end."""
    unfinished = request("/v1/tokenize", b"x" * 10)[:-1]
    with connections(service, 40 - KEPT) as busy:
        for made in busy:
            made.sendall(unfinished)
        wait_until(lambda: ask(service.port, request("/v1/tokenize", b"{}"))[0].status == 503)
        yield


def test_probes_are_answered_when_all_are_taken_and_all_else_is_told(gateway: Service) -> None:
    asked = request("/v1/tokenize", b'{"text": "A"}')
    with all_taken(gateway):
        for _ in range(2 * KEPT):
            (reply,) = ask(gateway.port, asked)
            assert reply.status == 503 and int(reply.headers["retry-after"]) >= 1
            assert json.loads(reply.body)["error"]["code"] == "full"
            for path in (b"live", b"ready"):
                (reply,) = ask(gateway.port, GET.replace(b"live", path))
                assert reply.status == 200
    wait_until(lambda: ask(gateway.port, asked, ends=True)[0].status == 200)


def test_who_only_connects_keeps_no_probe_out(gateway: Service) -> None:
    with all_taken(gateway), connections(gateway, 3 * KEPT):
        assert parse(talk(gateway.port, GET))[0].status == 200
