"""The hot path: pieces of a stream from TorchServe's connection to the client's.

Only whole events are passed on, so that an error event can always follow; the handler's frames
(`handler/sideband.py`) are taken out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway.replicas.in_flight import Live
from gateway.torchserve.connection import Wire
from gateway.web.exchange import Connection, Exchange, wait_for_reader
from handler import sideband

DONE = b"data: [DONE]\n\n"
# The end of a frame before a last event that is not DONE.
ENDS = b'"ends":true}'


class Relay:
    """Passes one stream on, as it comes."""

    def __init__(
        self,
        exchange: Exchange,
        live: Live,
        wire: Wire,
        observe: Callable[[float], None],
        write_seconds: float,
        *,
        is_framed: bool,
    ) -> None:
        connection = exchange.connection
        self._exchange = exchange
        self._live = live
        self._wire = wire
        self._connection: Connection = connection
        self._write = connection.transport.write
        # HTTP/1.0 has no chunks: its stream ends with the connection.
        self._is_chunked = exchange.scope["http_version"] != "1.0"
        self._observe = observe
        self._write_seconds = write_seconds
        self._is_framed = is_framed
        # The newest frame, as JSON; the last one of a stream tells its usage and how it ended.
        self.frame = b""
        self.has_ended = False
        self._rest = b""
        self._last = 0.0  # of the piece before, if there was one
        self._waiting: asyncio.Task[None] | None = None

    def take(self, piece: bytes) -> None:
        """Pass a piece on."""
        now = time.perf_counter()
        if self._rest:
            piece = self._rest + piece
            self._rest = b""
        if not piece.endswith(b"\n\n"):
            cut = piece.rfind(b"\n\n") + 2
            if cut < 2:
                self._rest = piece
                return
            piece, self._rest = piece[:cut], piece[cut:]
        if self._is_framed:
            piece, frames = sideband.split(piece)
            self.frame = frames[-1] if frames else self.frame
        self.has_ended = piece.endswith(DONE) or self.frame.endswith(ENDS)
        self._write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._is_chunked else piece)
        self._exchange.bytes_sent += len(piece)
        if self._last:
            self._observe(now - self._last)
        self._last = self._live.waits_since = now
        if self._connection.flow.write_paused and self._waiting is None:
            self._waiting = asyncio.create_task(self._wait_for_reader())

    async def _wait_for_reader(self) -> None:
        """Read no more from TorchServe until the client has taken what there is."""
        self._live.waits_since = None
        self._wire.transport.pause_reading()
        await wait_for_reader(self._connection, self._write_seconds)
        if not self._wire.is_lost:
            self._wire.transport.resume_reading()
        self._live.waits_since = time.perf_counter()
        self._waiting = None
