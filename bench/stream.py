"""A client of streamed completions that does as little as it can, so that the server is measured.

It counts events without reading their JSON: parsing them would take a good part of two cores.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

CHUNK = b'"text":'  # once in each event with text; within a text the quotes are escaped
END = b"\r\n0\r\n\r\n"  # the last piece of a chunked body
TAIL_BYTES = 1024  # holds usage, [DONE] and END


@dataclass(frozen=True)
class Way:
    """Where completions are asked for, on this machine."""

    port: int
    path: str


@dataclass(frozen=True)
class Reply:
    """One text: seconds to its first chunk, and how many chunks came."""

    first: float
    chunks: int


class Connection:
    """A kept connection; one request at a time."""

    def __init__(
        self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._way = way
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, way: Way) -> Connection:
        """Connect."""
        return cls(way, *await asyncio.open_connection("127.0.0.1", way.port))

    async def close(self) -> None:
        """Disconnect."""
        self._writer.close()
        await self._writer.wait_closed()

    async def complete(self, tokens: int) -> Reply:
        """Have a text of so many tokens written.

        Raises:
            RuntimeError: It was refused, cut, or of another length.
        """
        began = time.perf_counter()
        self._writer.write(self._request(tokens))
        head = await self._read_head()
        if b" 200 " not in head.splitlines()[0]:
            raise RuntimeError(head.splitlines()[0].decode("latin-1"))
        first, chunks, tail = None, 0, b""
        while not tail.endswith(END):
            data = await self._reader.read(1 << 16)
            if not data:
                raise RuntimeError("the stream was cut")
            seen = tail + data
            chunks += seen.count(CHUNK) - tail.count(CHUNK)
            if chunks and first is None:
                first = time.perf_counter() - began
            tail = seen[-TAIL_BYTES:]
        if first is None or b'"completion_tokens":%d,' % tokens not in tail.replace(b" ", b""):
            raise RuntimeError(f"{tokens} tokens were asked for; the end was {tail[-200:]!r}")
        return Reply(first, chunks)

    async def _read_head(self) -> bytes:
        try:
            return await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            raise RuntimeError("the connection was closed") from None

    def _request(self, tokens: int) -> bytes:
        fields = {"prompt": "Once upon a time", "max_tokens": tokens, "ignore_eos": True}
        body = json.dumps(fields | {"stream": True}).encode()
        head = (
            f"POST {self._way.path} HTTP/1.1\r\nhost: localhost\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body
