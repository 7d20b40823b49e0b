"""Passes one stream on, from its first event to its end, and says how it ended."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from gateway.errors import error_event
from gateway.proxy.relay import DONE, Relay
from gateway.proxy.replay import REPEATABLE, Lost, Replay
from gateway.proxy.reply import note_end
from gateway.replicas.in_flight import Abort, InFlight
from gateway.torchserve.connection import Connection, ConnectionLost
from gateway.web.exchange import Exchange
from handler.replies import sideband

# What a client reads where its request was ended early.
ENDED_EARLY = {
    Abort.WORKER_LOST: "The worker was lost during generation; please send the request again",
    Abort.STALLED: "Generation stalled and was ended",
    Abort.DRAINED: "The service is shutting down; please send the request again",
    Abort.REMOVED: "The worker was removed during generation; please send the request again",
    Abort.CLIENT_GONE: "The client disconnected",
    Abort.POISON: "The worker crashed each time this request was tried, even on its own; it will "
    "not be tried again. Please change the request, and report this",
}


class Stream:
    """One streamed reply of TorchServe. Its head is sent to the client with its first event."""

    def __init__(
        self,
        exchange: Exchange,
        request: InFlight,
        connection: Connection,
        replay: Replay,
        write_seconds: float,
    ) -> None:
        self._exchange = exchange
        self._request = request
        self._connection = connection
        self._replay = replay
        self._is_framed = connection.content_type == sideband.CONTENT_TYPE
        keep = replay.keep if self._is_framed else None
        self._relay = Relay(exchange, request, connection, write_seconds, keep=keep)
        self._first = b""

    async def begin(self) -> tuple[bytes, bytes]:
        """Wait for the first events and return them with their first frame; nothing is sent yet.

        Raises:
            ConnectionLost: The stream ended before.
        """
        while not self._first.endswith(b"\n\n"):
            chunk = await self._connection.read()
            if not chunk:
                raise ConnectionLost
            self._first += chunk
        self._request.has_flowed = True
        if not self._is_framed:
            return self._first, b""
        events, frames = sideband.split(self._first)
        return events, frames[0] if frames else b""

    async def start(self, card: dict[str, Any]) -> None:
        """Send the client the head, if it has none; `card` is what the model says of itself."""
        record = self._exchange.record
        record.ttft_ms = round((time.perf_counter() - self._exchange.began) * 1000, 1)
        record.stream = True
        self._replay.begin_stream(card)
        await self._exchange.start_stream()

    def follow(self, connection: Connection) -> None:
        """Go on with another worker's connection."""
        self._connection = connection
        self._relay.follow(connection, self._replay.said)
        self._first = b""

    async def pass_on(self) -> None:
        """Send the client the first events and all that follows, to the end.

        Raises:
            Lost: The worker was lost; what was sent stays good.
        """
        cause = await self._relay_to_end()
        self._connection.stop()
        if self._relay.differs:
            await self.break_off(Abort.WORKER_LOST)
        elif self._relay.has_ended:
            note_end(self._exchange.record, self._relay.frame)
            await self._exchange.end(self._relay.last)
        elif cause in REPEATABLE:
            raise Lost(cause)
        else:
            await self.break_off(cause)

    async def finish(self) -> None:
        """End a stream of which all was sent but that."""
        note_end(self._exchange.record, self._relay.frame)
        await self._exchange.end(DONE)

    async def break_off(self, cause: Abort) -> None:
        """End it early, and say why where anybody is left to read it."""
        note_end(self._exchange.record, self._relay.frame)
        self._exchange.record.aborted = cause.value
        if cause is not Abort.CLIENT_GONE:
            event = error_event(ENDED_EARLY[cause], cause.value, self._exchange.clients)
            await self._exchange.end(event)

    async def _relay_to_end(self) -> Abort:
        """Pass on what comes; return why it ended, if not with its last event."""
        try:
            self._relay.take(self._first)
            await self._connection.pass_on(self._relay.take)
        except ConnectionLost:
            pass
        except asyncio.CancelledError as cancelled:
            return self._request.acknowledge(cancelled)
        return Abort.WORKER_LOST
