"""Passes one stream on, from its first event to its end, and says how it ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway.errors import error_event
from gateway.proxy.relay import Relay
from gateway.proxy.reply import note_end
from gateway.replicas.in_flight import Abort, InFlight
from gateway.torchserve.connection import Connection, ConnectionLost
from gateway.web.exchange import Exchange, Header
from handler import sideband

STREAM_HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
# What a client reads where its request was ended early.
ENDED_EARLY = {
    Abort.WORKER_LOST: "The worker was lost during generation; please send the request again",
    Abort.STALLED: "Generation stalled and was ended",
    Abort.DRAINED: "The service is shutting down; please send the request again",
    Abort.REMOVED: "The worker was removed during generation; please send the request again",
    Abort.CLIENT_GONE: "The client went away",
}


class Stream:
    """One streamed reply of TorchServe. Its head is sent to the client with its first event."""

    def __init__(
        self,
        exchange: Exchange,
        request: InFlight,
        connection: Connection,
        observe_gap: Callable[[float], None],
        write_seconds: float,
    ) -> None:
        self._exchange = exchange
        self._request = request
        self._connection = connection
        self._observe_gap = observe_gap
        self._write_seconds = write_seconds
        self._is_framed = connection.content_type == sideband.CONTENT_TYPE
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
        self._request.started = self._request.has_flowed = True
        if not self._is_framed:
            return self._first, b""
        events, frames = sideband.split(self._first)
        return events, frames[0] if frames else b""

    async def pass_on(self) -> None:
        """Send the client the head, the first events, and all that follows, to the end."""
        exchange, record = self._exchange, self._exchange.record
        record.ttft_ms = round((time.perf_counter() - exchange.began) * 1000, 1)
        record.stream = True
        await exchange.start(200, STREAM_HEADERS)
        relay = Relay(
            exchange,
            self._request,
            self._connection,
            self._observe_gap,
            self._write_seconds,
            is_framed=self._is_framed,
        )
        cause = await self._relay_to_end(relay)
        self._connection.stop()
        note_end(record, relay.frame)
        if relay.has_ended:
            await exchange.end()
            return
        record.aborted = cause.value
        if cause is not Abort.CLIENT_GONE:
            await exchange.end(error_event(ENDED_EARLY[cause], cause.value))

    async def _relay_to_end(self, relay: Relay) -> Abort:
        """Pass on what comes; return why it ended, if not with its last event."""
        try:
            relay.take(self._first)
            await self._connection.pass_on(relay.take)
        except ConnectionLost:
            pass
        except asyncio.CancelledError as cancelled:
            return self._request.acknowledge(cancelled)
        return Abort.WORKER_LOST
