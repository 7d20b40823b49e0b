"""HTTP by the byte: sends what no client library would, and takes apart what comes back."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, field

HOST = b"host: localhost\r\n"


@dataclass
class Reply:
    """One reply, as its bytes say."""

    status: int
    version: bytes
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def talk(port: int, sent: bytes, *, ends: bool = False, seconds: float = 10) -> bytes:
    """Send bytes, and return all that comes back until the other side closes.

    With `ends` nothing more is said behind them, as `nc -N` does.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as made:
        with contextlib.suppress(ConnectionError):
            made.sendall(sent)
            if ends:
                made.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionError):
            while piece := made.recv(65536):
                received += piece
        return received


def ask(port: int, sent: bytes, **options: object) -> list[Reply]:
    """Send bytes, and return the replies: all that comes back must be replies."""
    return parse(talk(port, sent, **options))  # type: ignore[arg-type]


def parse(received: bytes) -> list[Reply]:
    """Take replies apart.

    Raises:
        AssertionError: It is not a row of sound replies.
    """
    replies: list[Reply] = []
    while received:
        head, end, received = received.partition(b"\r\n\r\n")
        assert end, f"a head without an end: {head[:200]!r}"
        line, *lines = head.split(b"\r\n")
        version, status, _ = line.split(b" ", 2)
        reply = Reply(int(status), version)
        for each in lines:
            name, colon, value = each.decode("latin-1").partition(": ")
            assert colon and name not in reply.headers, each
            reply.headers[name] = value
        replies.append(reply)
        if reply.status == 100:
            continue
        if reply.headers.get("transfer-encoding") == "chunked":
            reply.body, received = _chunks(received)
        elif "content-length" in reply.headers:
            size = int(reply.headers["content-length"])
            assert len(received) >= size, "a body that is cut"
            reply.body, received = received[:size], received[size:]
        elif reply.status != 204:
            reply.body, received = received, b""
    return replies


def _chunks(received: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, _, received = received.partition(b"\r\n")
        length = int(size, 16)
        body += received[:length]
        assert received[length : length + 2] == b"\r\n"
        received = received[length + 2 :]
        if not length:
            return body, received
