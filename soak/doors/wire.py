"""HTTP by the byte: takes apart what came back, strictly."""

from __future__ import annotations

from dataclasses import dataclass, field


class Unsound(Exception):
    """What came back is no row of sound replies."""


@dataclass
class Reply:
    """One reply, as its bytes say."""

    status: int
    version: bytes
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def parse(received: bytes, *, is_head: bool = False) -> list[Reply]:
    """Take replies apart. `is_head`: they answer HEAD, and have no body.

    Raises:
        Unsound: It is not a row of sound replies.
    """
    replies: list[Reply] = []
    while received:
        head, end, received = received.partition(b"\r\n\r\n")
        if not end:
            raise Unsound(f"a head without an end: {head[:200]!r}")
        line, *lines = head.split(b"\r\n")
        words = line.split(b" ", 2)
        if len(words) != 3 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise Unsound(f"a reply that begins with {line[:200]!r}")
        reply = Reply(int(words[1]), words[0])
        for each in lines:
            name, colon, value = each.decode("latin-1").partition(": ")
            if not colon or name in reply.headers:
                raise Unsound(f"a field {each[:200]!r}")
            reply.headers[name] = value
        replies.append(reply)
        if reply.status >= 200 and not is_head:
            reply.body, received = _body(reply, received)
    return replies


def _body(reply: Reply, received: bytes) -> tuple[bytes, bytes]:
    if reply.headers.get("transfer-encoding") == "chunked":
        return _chunks(received)
    if "content-length" in reply.headers:
        size = int(reply.headers["content-length"])
        if len(received) < size:
            raise Unsound("a body that is cut")
        return received[:size], received[size:]
    return (b"", received) if reply.status == 204 else (received, b"")


def _chunks(received: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, end, received = received.partition(b"\r\n")
        if not end:
            raise Unsound("chunks without an end")
        length = int(size, 16)
        body += received[:length]
        if received[length : length + 2] != b"\r\n":
            raise Unsound("a chunk that is longer than it says")
        received = received[length + 2 :]
        if not length:
            return body, received
