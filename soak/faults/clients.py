"""Clients that behave badly beside the honest ones."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import socket
import time
from typing import Any

from soak import replies
from soak.faults.fault import Arena, Fault, NotAsPromised

LONG = {"prompt": "A", "max_tokens": 600, "ignore_eos": True, "stream": True, "logprobs": 5}
SECONDS = 60.0


def _request(path: str, body: bytes, more: bytes = b"connection: close\r\n") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n".encode()
    return head + more + b"content-length: %d\r\n\r\n" % len(body) + body


def _completion(value: dict[str, Any], more: bytes = b"connection: close\r\n") -> bytes:
    return _request("/v1/completions", json.dumps(value).encode(), more)


def _connect(arena: Arena) -> socket.socket:
    return socket.create_connection(("127.0.0.1", arena.service.port), timeout=SECONDS)


def _talk(arena: Arena, sent: bytes, *, ends: bool = False) -> bytes:
    """Send bytes, and return all that comes until the other side closes."""
    received = b""
    with contextlib.suppress(ConnectionError), _connect(arena) as made:
        with contextlib.suppress(ConnectionError):
            made.sendall(sent)
            if ends:
                made.shutdown(socket.SHUT_WR)
        while chunk := made.recv(65536):
            received += chunk
    return received


def _expect(received: bytes, *statuses: int) -> None:
    status = int(received[9:12]) if received.startswith(b"HTTP/1.") else 0
    if status not in statuses:
        raise NotAsPromised(f"expected {statuses}, got {received[:120]!r}")


def _at_once(arena: Arena, sent: bytes, count: int, *statuses: int) -> None:
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        for received in pool.map(lambda _: _talk(arena, sent), range(count)):
            _expect(received, *statuses)


def _read_slowly(arena: Arena) -> None:
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(_connect(arena)) for _ in range(4)]
        for each in made:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            each.sendall(_completion(LONG))
        for _ in range(20):
            for each in made:
                each.recv(512)
            time.sleep(0.1)


def _leave(arena: Arena) -> None:
    for _ in range(10):
        with _connect(arena) as made:
            made.sendall(_completion(LONG))
            if arena.rng.random() < 0.5:
                made.recv(512)
            time.sleep(arena.rng.random() / 10)


def _close_half(arena: Arena) -> None:
    whole = [each for each in arena.known if not each[0].is_stream and each[0].kind == "whole"]
    question, expected = arena.rng.choice(whole)
    body = json.dumps(question.body).encode()
    received = _talk(arena, _request(question.path, body), ends=True)
    _expect(received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"), 200)
    content = received.rpartition(b"\r\n\r\n")[2]
    if replies.whole(200, content) != expected:
        raise NotAsPromised("a client that closed its side got another text")


def _letters(arena: Arena) -> None:
    _at_once(arena, _completion({"prompt": "a" * 900_000, "max_tokens": 1}), 4, 400, 429)


def _vocabulary(arena: Arena) -> None:
    bias = {str(token): 0.5 for token in range(4000)}
    asked = {"prompt": "Once", "logit_bias": bias, "max_tokens": 5}
    _at_once(arena, _completion(asked), 4, 200, 429)


def _scores(arena: Arena) -> None:
    asked = {"prompt": [5] * 490, "echo": True, "logprobs": 20, "max_tokens": 1}
    _at_once(arena, _completion(asked), 4, 200, 429)


def _too_long(arena: Arena) -> None:
    _at_once(arena, _request("/v1/completions", b" " * (2 << 20)), 4, 413)


BAD_BODIES = (
    b"{",
    b"[]",
    b'{"prompt": "\xff"}',
    b'{"prompt": "x", "n": "many"}',
    b'{"prompt": "x", "max_tokens": 1e400}',
    b"[" * 100_000,
    b'{"prompt": "x", "temperature": NaN}',
    b'{"prompt": 5.5}',
)


def _bad_json(arena: Arena) -> None:
    for body in BAD_BODIES:
        _expect(_talk(arena, _request("/v1/completions", body)), 400)


BAD_HEADS = (
    (b"GET / HTTP/1.1\r\n\r\n", (400,)),
    (b"GET /\x00 HTTP/1.1\r\nhost: x\r\n\r\n", (400,)),
    (b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n"
     b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n", (400,)),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 501, 505)),
    (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 40_000 + b"\r\n\r\n", (431,)),
    (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", (414,)),
    (b"POST /v1/tokenize HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", (400,)),
)  # fmt: skip


def _bad_http(arena: Arena) -> None:
    for sent, statuses in BAD_HEADS:
        _expect(_talk(arena, sent), *statuses)


def _idle(arena: Arena) -> None:
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(_connect(arena)) for _ in range(200)]
        for each in made[::2]:
            each.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\nx-slow: ")
        time.sleep(2)


def _pipeline(arena: Arena) -> None:
    one = _completion({"prompt": "A", "max_tokens": 2, "seed": 1}, b"")
    last = _completion({"prompt": "A", "max_tokens": 2, "seed": 1})
    received = _talk(arena, one * 4 + last)
    if received.count(b"HTTP/1.1 200 ") != 5:
        raise NotAsPromised(f"five requests in one write got {received[:300]!r}")


FAULTS = (
    Fault("slow-readers", "four read their streams at 5 KB/s", _read_slowly),
    Fault("leavers", "ten streams whose clients leave", _leave),
    Fault("half-closed", "a client closes its side, and is answered", _close_half),
    Fault("bomb-letters", "prompts of one letter, 900 KB, four at once", _letters),
    Fault("bomb-vocabulary", "the whole vocabulary biased, four at once", _vocabulary),
    Fault("bomb-scores", "490 tokens scored with 20 alternatives, four at once", _scores),
    Fault("too-long", "bodies of 2 MB", _too_long),
    Fault("bad-json", "bodies that are wrong in eight ways", _bad_json),
    Fault("bad-http", "heads that are wrong in seven ways", _bad_http),
    Fault("idle", "200 connections that say nothing, or half a head", _idle),
    Fault("pipelined", "five requests in one write", _pipeline),
)
