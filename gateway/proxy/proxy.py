"""Sends predictions to replicas and brings their replies back, streamed or whole.

A whole reply is held until it is complete, a stream until its first event: until then a failure
still has its status, and a request whose worker was lost before it began is sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from gateway.errors import Unavailable
from gateway.proxy.judging import RETRY_SECONDS, Judge, NotStarted
from gateway.proxy.prediction import Prediction
from gateway.proxy.reply import Reply, note_ignored_fields, note_origin
from gateway.proxy.streaming import ENDED_EARLY, Stream
from gateway.replicas.in_flight import Abort, Aborted, InFlight
from gateway.replicas.liveness import Liveness
from gateway.replicas.replica import Replica
from gateway.replicas.replicas import Replicas
from gateway.settings import Settings
from gateway.torchserve.client import Upstream
from gateway.torchserve.connection import Connection, ConnectionLost
from gateway.web.exchange import ClientGone, Exchange
from gateway.web.metrics import Metrics
from gateway.web.sequence_limit import SequenceLimit
from handler import ignored, sideband

# The death of a worker, or of TorchServe, is seen by the rest of the gateway within this time; who
# is sent again sooner would meet the same dead replica.
LOSS_SEEN_SECONDS = 0.25

Result = TypeVar("Result")
# Takes what a replica answers, from the head of its reply on.
Take = Callable[[Exchange, Prediction, InFlight, Connection], Awaitable[Result]]


class Proxy:
    """Serves predictions from replicas."""

    def __init__(
        self,
        settings: Settings,
        upstream: Upstream,
        replicas: Replicas,
        sequences: SequenceLimit,
        metrics: Metrics,
        secret: str,
    ) -> None:
        self._settings = settings
        self._upstream = upstream
        self._registry = replicas.registry
        self._monitor = replicas.monitor
        self._sequences = sequences
        self._metrics = metrics
        # Has the handler send frames in its streams.
        self._secret = secret
        self._judge = Judge(sequences)
        self._liveness = Liveness(upstream, replicas.registry, settings.stall_seconds)
        # Requests that are with no worker just now.
        self._parked: set[InFlight] = set()
        self._is_draining = False

    def drain(self) -> None:
        """Wait for no worker any more: who is with none is told to come again elsewhere."""
        self._is_draining = True
        for request in self._parked:
            request.abort(Abort.DRAINED)

    async def serve(self, exchange: Exchange, prediction: Prediction) -> None:
        """Answer a prediction, streamed or whole.

        Raises:
            ClientGone: Nobody is left to be answered.
            GatewayError: It cannot be had.
        """
        reply = await self._run(exchange, prediction, self._stream_or_read)
        if reply is not None:
            await reply.send(exchange)

    async def fetch(self, exchange: Exchange, prediction: Prediction) -> Reply:
        """Return the whole reply to a prediction that asks for no stream.

        Raises:
            ClientGone: Nobody is left to be answered.
            GatewayError: It cannot be had.
        """
        return await self._run(exchange, prediction, self._read_whole)

    async def _run(self, exchange: Exchange, prediction: Prediction, take: Take[Result]) -> Result:
        """Have a prediction answered within the limits, and count how it ended."""
        self._registry.refuse_at_rest(prediction.model, prediction.version)
        sequences = prediction.sequences
        capacity = self._registry.capacity()
        self._sequences.enter(sequences, capacity, prediction.most_sequences)
        request = InFlight(sequences)
        gone = asyncio.create_task(self._watch_client(exchange, request))
        exchange.record.n = sequences
        try:
            return await self._try_twice(exchange, prediction, request, take)
        finally:
            gone.cancel()
            self._sequences.leave(sequences)
            if prediction.writes:
                self._metrics.ended(exchange)

    async def _try_twice(
        self, exchange: Exchange, prediction: Prediction, request: InFlight, take: Take[Result]
    ) -> Result:
        for pause in (0.0, LOSS_SEEN_SECONDS):
            replica = await self._find_replica(exchange, prediction, request, pause)
            # How the try before ended counts only if there is no further one.
            exchange.record.aborted = None
            replica.enter(request)
            self._liveness.follow(replica)
            try:
                return await self._try_once(exchange, prediction, request, replica, take)
            except NotStarted:
                exchange.record.retried = True
                exchange.record.aborted = Abort.WORKER_LOST.value
            finally:
                replica.leave(request)
        raise Unavailable(
            "The worker was lost; please send the request again",
            code="worker_lost",
            retry_after=RETRY_SECONDS,
        )

    async def _find_replica(
        self, exchange: Exchange, prediction: Prediction, request: InFlight, pause: float
    ) -> Replica:
        """Return a replica after `pause`; waits for one that is coming back."""
        model, version, prefix = prediction.model, prediction.version, prediction.prefix
        self._parked.add(request)
        try:
            async with request:
                if pause:
                    await asyncio.sleep(pause)
                # Who comes while a lost worker is coming back waits; before the first one nobody.
                waits = self._monitor.was_ready and not self._is_draining
                patience = self._settings.retry_seconds if waits else 0.0
                return await self._monitor.wait_for(model, version, prefix, patience)
        except Aborted as aborted:
            raise _ended_early(exchange, request, aborted.cause) from None
        finally:
            self._parked.discard(request)

    async def _try_once(
        self,
        exchange: Exchange,
        prediction: Prediction,
        request: InFlight,
        replica: Replica,
        take: Take[Result],
    ) -> Result:
        exchange.record.replica = replica.name
        try:
            async with request, self._asked(exchange, prediction, replica) as connection:
                return await take(exchange, prediction, request, connection)
        except Aborted as aborted:
            raise _ended_early(exchange, request, aborted.cause) from None
        except (ConnectionLost, OSError):
            raise _ended_early(exchange, request, Abort.WORKER_LOST) from None

    @asynccontextmanager
    async def _asked(
        self, exchange: Exchange, prediction: Prediction, replica: Replica
    ) -> AsyncIterator[Connection]:
        """The connection on which a prediction was sent to a replica."""
        connection = await self._upstream.predict(
            replica.name,
            prediction.version,
            prediction.path,
            prediction.body,
            self._headers(exchange, prediction),
        )
        try:
            yield connection
        finally:
            self._upstream.finish(connection)

    async def _stream_or_read(
        self,
        exchange: Exchange,
        prediction: Prediction,
        request: InFlight,
        connection: Connection,
    ) -> Reply | None:
        """Pass a stream on, or return a whole reply: what TorchServe sends decides."""
        is_ok = await connection.head() == 200
        if not (is_ok and connection.content_type.startswith("text/event-stream")):
            return await self._read_whole(exchange, prediction, request, connection)
        seconds, observe_gap = self._settings.write_seconds, self._metrics.token_gap
        stream = Stream(exchange, request, connection, observe_gap, seconds)
        events, frame = await stream.begin()
        if events.startswith(b'data: {"error"'):
            return self._judge.first_event(exchange.record, events)
        self._note_ignored(exchange, connection)
        note_origin(exchange, self._card(prediction), frame)
        await stream.pass_on()
        return None

    async def _read_whole(
        self,
        exchange: Exchange,
        prediction: Prediction,
        request: InFlight,
        connection: Connection,
    ) -> Reply:
        status = await connection.head()
        request.started = True
        body = await connection.read_all()
        reply = self._judge.whole(exchange.record, status, connection.content_type, body)
        self._note_ignored(exchange, connection)
        if reply.status == 200:
            note_origin(exchange, self._card(prediction), reply.frame)
        return reply

    def _card(self, prediction: Prediction) -> dict[str, Any]:
        return self._registry.card(prediction.model, prediction.version) or {}

    def _note_ignored(self, exchange: Exchange, connection: Connection) -> None:
        names = connection.headers.get(ignored.HEADER.encode(), b"").decode("latin-1")
        note_ignored_fields(exchange, names, self._metrics)

    def _headers(self, exchange: Exchange, prediction: Prediction) -> dict[str, str]:
        """The only headers that TorchServe sees."""
        headers = {
            "x-request-id": exchange.request_id,
            "content-type": prediction.content_type,
            sideband.HEADER: self._secret,
        }
        if prediction.accept:
            headers["accept"] = prediction.accept
        if exchange.traceparent:
            headers["traceparent"] = exchange.traceparent
        return headers

    @staticmethod
    async def _watch_client(exchange: Exchange, request: InFlight) -> None:
        await exchange.wait_disconnect()
        request.client_is_gone = True
        request.abort(Abort.CLIENT_GONE)


def _ended_early(exchange: Exchange, request: InFlight, cause: Abort) -> Exception:
    """Return what a request that was ended early is answered."""
    has_begun = bool(exchange.status)  # then there is no other answer
    if cause is Abort.WORKER_LOST and not request.started and not has_begun:
        return NotStarted()
    exchange.record.aborted = cause.value
    if cause is Abort.CLIENT_GONE or has_begun:
        return ClientGone()
    return Unavailable(ENDED_EARLY[cause], code=cause.value, retry_after=RETRY_SECONDS)
