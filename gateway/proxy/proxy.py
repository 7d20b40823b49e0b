"""Sends predictions to replicas and brings their replies back, streamed or whole.

A whole reply is held until it is complete, a stream until its first event: until then a failure
still has its status. What loses its worker is asked for again (`replay.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from gateway.errors import GatewayError, Unavailable
from gateway.proxy.entrance import Entrance
from gateway.proxy.job import Job, broken_off, unless_lost
from gateway.proxy.judging import Judge
from gateway.proxy.keep_alive import KeepAlive
from gateway.proxy.prediction import Prediction
from gateway.proxy.replay import REPEATABLE, Lost, Replay
from gateway.proxy.reply import Reply, end_stream, note_ignored_fields, note_origin, seed_in
from gateway.proxy.streaming import Stream
from gateway.replicas.in_flight import Abort, Aborted, InFlight
from gateway.replicas.liveness import Liveness
from gateway.replicas.replica import Replica
from gateway.replicas.replicas import Replicas
from gateway.settings import Settings
from gateway.torchserve.client import Upstream
from gateway.torchserve.connection import Connection, ConnectionLost
from gateway.torchserve.crashes import Crashes
from gateway.web.exchange import Exchange
from gateway.web.metrics import Metrics
from handler.replies import sideband
from handler.requests import ignored

# How an event begins that is an error.
ERROR = b'data: {"error"'


Result = TypeVar("Result")
# Takes what a replica answers, from the head of its reply on.
Take = Callable[[Job, Connection], Awaitable[Result]]


class Proxy:
    """Serves predictions from replicas."""

    def __init__(
        self,
        settings: Settings,
        upstream: Upstream,
        replicas: Replicas,
        entrance: Entrance,
        judge: Judge,
        metrics: Metrics,
        crashes: Crashes,
        secret: str,
    ) -> None:
        self._settings = settings
        self._upstream = upstream
        self._registry = replicas.registry
        self._monitor = replicas.monitor
        self._entrance = entrance
        self._metrics = metrics
        self._crashes = crashes
        # Has the handler send frames in its streams.
        self._secret = secret
        self._judge = judge
        self._liveness = Liveness(upstream, replicas.registry, settings.stall_seconds)
        # Requests that are with no worker just now.
        self._parked: set[InFlight] = set()
        self._is_draining = False

    def drain(self) -> None:
        """Wait for no worker any more: requests without one are sent elsewhere."""
        self._is_draining = True
        for request in self._parked:
            request.abort(Abort.DRAINED)

    async def serve(self, exchange: Exchange, prediction: Prediction) -> None:
        """Answer a prediction, streamed or whole.

        Raises:
            ClientGone: Nobody is left to be answered.
            GatewayError: It cannot be had.
        """
        try:
            reply = await self._run(exchange, prediction, self._stream_or_read)
        except GatewayError as error:
            if not exchange.record.stream:
                raise
            exchange.record.error = error.code or error.kind
            await end_stream(exchange, error.detail)
            return
        if reply is not None and exchange.record.stream:
            await end_stream(exchange, reply.json())
        elif reply is not None:
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
        request = InFlight(prediction.sequences)
        longest = max(self._settings.stall_seconds, self._settings.retry_seconds)
        gone = asyncio.create_task(self._watch_client(exchange, request))
        exchange.record.n = prediction.sequences
        exchange.record.model = prediction.model
        identity, card = sideband.Identity.new(), self._card(prediction)
        seconds = self._settings.stream_keepalive_seconds
        keep_alive = KeepAlive(exchange, prediction, card, identity, seconds)
        try:
            async with self._entrance.place(exchange.record, prediction, request):
                replay = Replay(prediction, longest)
                keep_alive.follow(replay)
                job = Job(exchange, prediction, request, replay, identity)
                try:
                    return await self._try_until_answered(job, take)
                finally:
                    if prediction.writes:
                        self._metrics.ended(exchange)
        finally:
            keep_alive.close()
            gone.cancel()

    async def _try_until_answered(self, job: Job, take: Take[Result]) -> Result:
        """Ask replicas until one has answered to the end, as long as that can be hoped for."""
        while True:
            replica = await self._enter_replica(job)
            # How the try before ended counts only if there is no further one.
            job.exchange.record.aborted = None
            self._liveness.follow(replica)
            worker = replica.worker
            try:
                return await self._try_once(job, replica, take)
            except Lost as lost:
                job.exchange.record.retried = True
                job.replay.lose(lost, crashed=self._crashes.has(worker))
                if self._is_draining or not job.replay.may_go_on(self._card(job.prediction)):
                    raise await broken_off(job, job.replay.verdict(lost)) from None
                self._metrics.replayed()
            finally:
                self._monitor.leave(replica, job.request)

    async def _enter_replica(self, job: Job) -> Replica:
        """Enter a replica, alone if the request may be what workers end by.

        Waits for one that is coming back.
        """
        prediction, patience = job.prediction, job.replay.patience
        if patience is None:
            # Who comes while a lost worker is coming back waits; before the first one nobody.
            waits = self._monitor.was_ready and not self._is_draining
            patience = self._settings.retry_seconds if waits else 0.0
        try:
            async with self._parked_in(job):
                await asyncio.sleep(job.replay.pause)
                enter = self._monitor.enter_alone if job.replay.is_suspect else self._monitor.enter
                return await enter(
                    job.request, prediction.model, prediction.version, prediction.prefix, patience
                )
        except GatewayError as error:  # none came in time, or none is wanted any more
            cause = Abort.WORKER_LOST if isinstance(error, Unavailable) else Abort.REMOVED
            if job.stream is None:
                if job.replay.patience is not None:  # it had one, and lost it
                    job.exchange.record.aborted = cause.value
                raise
            raise await broken_off(job, cause) from None

    @asynccontextmanager
    async def _parked_in(self, job: Job) -> AsyncIterator[None]:
        """Have a request wait where it is with no worker."""
        self._parked.add(job.request)
        try:
            async with job.request:
                yield
        except Aborted as aborted:
            raise await broken_off(job, aborted.cause) from None
        finally:
            self._parked.discard(job.request)

    async def _try_once(self, job: Job, replica: Replica, take: Take[Result]) -> Result:
        job.exchange.record.replica = replica.name
        try:
            async with job.request, self._asked(job, replica) as connection:
                return await take(job, connection)
        except Aborted as aborted:
            if aborted.cause in REPEATABLE:
                raise Lost(aborted.cause) from None
            raise await broken_off(job, aborted.cause) from None
        except ConnectionLost:
            raise Lost from None
        except OSError:  # nobody listens
            raise Lost(is_loss=False) from None

    @asynccontextmanager
    async def _asked(self, job: Job, replica: Replica) -> AsyncIterator[Connection]:
        """The connection on which a prediction was sent to a replica."""
        prediction = job.prediction
        connection = await self._upstream.predict(
            replica.name,
            prediction.version,
            prediction.path,
            job.replay.body(),
            self._headers(job),
        )
        try:
            yield connection
        finally:
            self._upstream.finish(connection)

    async def _stream_or_read(self, job: Job, connection: Connection) -> Reply | None:
        """Pass a stream on, or return a whole reply: what TorchServe sends decides."""
        is_ok = await connection.head() == 200
        is_stream = is_ok and connection.content_type.startswith("text/event-stream")
        if job.stream is not None:
            await self._go_on(job, job.stream, connection, is_stream=is_stream)
            return None
        if not is_stream:
            return await self._read_whole(job, connection)
        exchange, record = job.exchange, job.exchange.record
        seconds = self._settings.write_seconds
        stream = Stream(exchange, job.request, connection, job.replay, seconds)
        events, frame = await stream.begin()
        if events.startswith(ERROR):
            return unless_lost(self._judge.first_event(record, events), record)
        card = self._card(job.prediction)
        self._note_ignored(exchange, connection)
        if not exchange.record.stream:
            note_origin(exchange, card, seed_in(frame))
        job.stream = stream
        await stream.start(card)
        await stream.pass_on()
        return None

    async def _go_on(
        self, job: Job, stream: Stream, connection: Connection, *, is_stream: bool
    ) -> None:
        """Send the rest of a stream that was taken up."""
        if job.replay.has_all:
            await stream.finish()
            return
        if not is_stream:  # there is no room for it yet
            await connection.read_all()
            raise Lost(is_loss=False)
        stream.follow(connection)
        events, _ = await stream.begin()
        if events.startswith(ERROR):
            raise Lost(is_loss=False)
        await stream.pass_on()

    async def _read_whole(self, job: Job, connection: Connection) -> Reply:
        record = job.exchange.record
        status = await connection.head()
        body = await connection.read_all()
        reply = self._judge.whole(record, status, connection.content_type, body)
        reply = unless_lost(reply, record)
        self._note_ignored(job.exchange, connection)
        if reply.status == 200:
            note_origin(job.exchange, self._card(job.prediction), seed_in(reply.frame))
        return reply

    def _card(self, prediction: Prediction) -> dict[str, Any]:
        return self._registry.card(prediction.model, prediction.version) or {}

    def _note_ignored(self, exchange: Exchange, connection: Connection) -> None:
        names = connection.headers.get(ignored.HEADER.encode(), b"").decode("latin-1")
        note_ignored_fields(exchange, names, self._metrics)

    def _headers(self, job: Job) -> dict[str, str]:
        """The only headers that TorchServe sees."""
        exchange, prediction = job.exchange, job.prediction
        headers = {
            "x-request-id": exchange.request_id,
            "content-type": prediction.content_type,
            sideband.HEADER: self._secret,
            sideband.IDENTITY_HEADER: job.identity.as_header(),
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
