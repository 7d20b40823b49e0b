"""A minimal client of streamed completions, so that the server is measured and not the client.

It counts events without reading their JSON: client and server share the processors, and parsing
would take a good part of them. In service clients have processors of their own.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CHUNK = b'"text":'  # once in each event with text; within a text the quotes are escaped
END = b"\r\n0\r\n\r\n"  # the last chunk of a chunked body
TAIL_BYTES = 1024  # holds usage, [DONE] and END


@dataclass(frozen=True)
class Way:
    """Where completions are asked for, on this machine."""

    port: int
    path: str


class Connection(asyncio.Protocol):
    """A kept connection; one request at a time."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._transport: asyncio.Transport | None = None
        self._moments: list[float] = []
        self._ended: asyncio.Future[None] | None = None
        self._tail = b""

    @classmethod
    async def open(cls, way: Way) -> Connection:
        """Connect."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: cls(way), "127.0.0.1", way.port)
        return connection

    def close(self) -> None:
        """Disconnect."""
        if self._transport is not None:
            self._transport.close()

    async def complete(self, fields: Mapping[str, Any]) -> list[float]:
        """Have `fields["max_tokens"]` tokens streamed; when each event came (time.perf_counter).

        Raises:
            RuntimeError: It was refused, cut, or of another length.
        """
        if self._transport is None:
            raise RuntimeError("the connection was closed")
        self._moments, self._tail = [], b""
        self._ended = asyncio.get_running_loop().create_future()
        streamed = {"stream": True, "stream_options": {"include_usage": True}}
        self._transport.write(self._request({**fields, **streamed}))
        await self._ended
        wanted = f'"completion_tokens":{fields["max_tokens"]},'.encode()
        if wanted not in self._tail.replace(b" ", b""):
            raise RuntimeError(f"expected {wanted.decode()}; the last bytes were {self._tail!r}")
        return self._moments

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        if isinstance(transport, asyncio.Transport):
            self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        self._fail("the connection was closed")

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if not self._tail and b" 200 " not in data.partition(b"\r\n")[0]:
            self._fail(data[:400].decode("latin-1"))
        seen = self._tail + data
        count = seen.count(CHUNK) - self._tail.count(CHUNK)
        self._tail = seen[-TAIL_BYTES:]
        self._moments += [time.perf_counter()] * count
        if self._ended is not None and not self._ended.done() and self._tail.endswith(END):
            self._ended.set_result(None)

    def _fail(self, reason: str) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(RuntimeError(reason))

    def _request(self, fields: Mapping[str, Any]) -> bytes:
        body = json.dumps(fields).encode()
        head = (
            f"POST {self._way.path} HTTP/1.1\r\nhost: localhost\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body
