"""The hot path: chunks of a stream from TorchServe's connection to the client's.

Only whole events are passed on, so that an error event can always follow; the handler's frames
(`handler/replies/sideband.py`) are taken out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway.replicas.in_flight import InFlight
from gateway.torchserve.connection import Connection
from gateway.web.exchange import ClientConnection, Exchange, wait_for_reader
from handler.replies import sideband

DONE = b"data: [DONE]\n\n"
# The end of a frame before a last event that is not DONE.
ENDS = b'"ends":true}'


class Relay:
    """Passes one stream on, as it comes."""

    def __init__(
        self,
        exchange: Exchange,
        request: InFlight,
        connection: Connection,
        write_seconds: float,
        *,
        keep: Callable[[list[bytes], bytes], None] | None,
    ) -> None:
        """Begin.

        Args:
            exchange: The client's.
            request: What is in flight.
            connection: TorchServe's.
            write_seconds: How long a reader may take nothing.
            keep: Takes the frames of events that are sent, and these; None where there are none.
        """
        client = exchange.connection
        self._request = request
        self._connection = connection
        self._client: ClientConnection = client
        self._write = exchange.write
        self._write_seconds = write_seconds
        self._keep = keep
        # The newest frame, as JSON; the last one of a stream has its usage and how it ended.
        self.frame = b""
        self.has_ended = False
        # The last events, which are not sent here: the reply's end goes with them.
        self.last = b""
        # Whether another worker said something else than was sent already.
        self.differs = False
        self._said = b""
        self._rest = b""
        self._waiting: asyncio.Task[None] | None = None

    def take(self, chunk: bytes) -> None:
        """Pass a chunk on."""
        now = time.perf_counter()
        if self._rest:
            chunk = self._rest + chunk
            self._rest = b""
        if not chunk.endswith(b"\n\n"):
            cut = chunk.rfind(b"\n\n") + 2
            if cut < 2:
                self._rest = chunk
                return
            chunk, self._rest = chunk[:cut], chunk[cut:]
        if self._keep is not None:
            chunk, frames = sideband.split(chunk)
            self.frame = frames[-1] if frames else self.frame
            chunk = self._pass_over(chunk)
            self._keep(frames, chunk)
        self.has_ended = chunk.endswith(DONE) or self.frame.endswith(ENDS)
        if self.last:  # it was not the last, in a stream of another kind of model
            chunk = self.last + chunk
        self.last = chunk if self.has_ended else b""
        if not chunk or self.last:
            self._request.waits_since = now
            return
        self._write(chunk, now)
        self._request.waits_since = now
        if self._client.flow.write_paused and self._waiting is None:
            self._waiting = asyncio.create_task(self._wait_for_reader())

    def follow(self, connection: Connection, said: bytes) -> None:
        """Go on with another connection; what came of an event on the last one is forgotten.

        `said`: the events that come there first, and were sent already.
        """
        self._connection = connection
        self._rest = b""
        self._said = said

    def _pass_over(self, chunk: bytes) -> bytes:
        """Take away of a chunk what was sent already."""
        if not self._said:
            return chunk
        again = chunk[: len(self._said)]
        if not self._said.startswith(again):
            self.differs = True
            self._connection.transport.close()
            return b""
        self._said = self._said[len(again) :]
        return chunk[len(again) :]

    async def _wait_for_reader(self) -> None:
        """Read no more from TorchServe until the client has taken what there is."""
        self._request.waits_since = None
        connection = self._connection
        if not connection.is_lost:
            connection.transport.pause_reading()
        await wait_for_reader(self._client, self._write_seconds)
        if not connection.is_lost:
            connection.transport.resume_reading()
        self._request.waits_since = time.perf_counter()
        self._waiting = None
