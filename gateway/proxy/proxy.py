"""Passes predictions on to TorchServe and their replies back, with honest statuses.

A whole reply is held until it is complete. Streamed events are passed on as they come; of a stream
only the last frame is read: whether it ended properly, and the usage.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

from gateway.errors import (
    KINDS,
    BadGateway,
    GatewayError,
    TooManyRequests,
    Unavailable,
    error_body,
    error_event,
)
from gateway.proxy.prediction import JSON_TYPE, Prediction
from gateway.proxy.relay import Relay
from gateway.proxy.reply import (
    FAILED,
    Reply,
    note_end,
    note_ignored_fields,
    note_origin,
    note_usage,
)
from gateway.replicas.in_flight import Abort, Aborted, Live
from gateway.replicas.liveness import Pulse
from gateway.replicas.replica import Replica
from gateway.replicas.replicas import Replicas
from gateway.settings import Settings
from gateway.torchserve.client import Upstream
from gateway.torchserve.connection import Wire, WireLost
from gateway.web.exchange import Exchange, Header
from gateway.web.limits import Admission
from gateway.web.metrics import Metrics
from handler import ignored, sideband

STREAM_HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
RETRY_SECONDS = 2
# The death of a worker, or of TorchServe, is seen by the rest of the gateway within this time; who
# is sent again sooner would meet the same dead replica.
LOSS_SEEN_SECONDS = 0.25


class NotStarted(Exception):
    """The worker was lost before it began with the request: it may be sent again."""


class Proxy:
    """Serves predictions from replicas."""

    def __init__(
        self,
        settings: Settings,
        upstream: Upstream,
        replicas: Replicas,
        admission: Admission,
        metrics: Metrics,
        secret: str,
    ) -> None:
        self._settings = settings
        self._upstream = upstream
        self._replicas = replicas
        self._admission = admission
        self._metrics = metrics
        # Has the handler send frames in its streams.
        self._secret = secret
        self._pulse = Pulse(upstream, replicas, settings.stall_seconds)
        # Requests that are with no worker just now.
        self._parked: set[Live] = set()
        self._is_draining = False

    def drain(self) -> None:
        """Wait for no worker any more: who is with none is told to come again elsewhere."""
        self._is_draining = True
        for live in self._parked:
            live.abort(Abort.DRAINED)

    async def serve(self, exchange: Exchange, prediction: Prediction) -> None:
        """Answer a prediction, streamed or whole."""
        reply = await self.fetch(exchange, prediction)
        if reply is not None:
            await reply.send(exchange)

    async def fetch(self, exchange: Exchange, prediction: Prediction) -> Reply | None:
        """Return the whole reply, or None when it was streamed (or nobody is left to read it).

        Raises:
            GatewayError: It can not be had.
        """
        self._replicas.refuse_at_rest(prediction.model, prediction.version)
        sequences = prediction.sequences
        self._admission.enter(sequences, self._replicas.capacity(), prediction.most_sequences)
        live = Live(sequences)
        gone = asyncio.create_task(self._watch_client(exchange, live))
        exchange.facts["n"] = sequences
        try:
            return await self._fetch_twice(exchange, prediction, live)
        finally:
            gone.cancel()
            self._admission.leave(sequences)
            if prediction.writes:
                self._metrics.ended(exchange)

    async def _fetch_twice(
        self, exchange: Exchange, prediction: Prediction, live: Live
    ) -> Reply | None:
        for pause in (0.0, LOSS_SEEN_SECONDS):
            try:
                replica = await self._find_replica(prediction, live, pause)
            except Aborted as aborted:
                self._explain(exchange, live, aborted.cause)
                return None
            # How the try before ended is told only if there is no further one.
            exchange.facts.pop("aborted", None)
            replica.enter(live)
            self._pulse.follow(replica)
            try:
                return await self._fetch_once(exchange, prediction, live, replica)
            except NotStarted:
                exchange.facts["retried"] = True
                exchange.facts["aborted"] = Abort.WORKER_LOST.value
            finally:
                replica.leave(live)
        raise Unavailable(
            "The worker was lost; please send the request again",
            code="worker_lost",
            retry_after=RETRY_SECONDS,
        )

    async def _find_replica(self, prediction: Prediction, live: Live, pause: float) -> Replica:
        """Return a replica after `pause`; waits for one that is coming back.

        Raises:
            Aborted: The client left, or the service shuts down.
            Unavailable: None came in time.
        """
        model, version, prefix = prediction.model, prediction.version, prediction.prefix
        self._parked.add(live)
        try:
            async with live:
                if pause:
                    await asyncio.sleep(pause)
                # Who comes while a lost worker is coming back waits; before the first one nobody.
                waits = self._replicas.was_ready and not self._is_draining
                patience = self._settings.retry_seconds if waits else 0.0
                return await self._replicas.wait_for(model, version, prefix, patience)
        finally:
            self._parked.discard(live)

    async def _fetch_once(
        self, exchange: Exchange, prediction: Prediction, live: Live, replica: Replica
    ) -> Reply | None:
        exchange.facts["replica"] = replica.name
        wire: Wire | None = None
        try:
            async with live:
                wire = await self._upstream.predict(
                    replica.name,
                    prediction.version,
                    prediction.path,
                    prediction.body,
                    self._headers(exchange, prediction),
                )
                status = await wire.head()
                live.started = True
                if status == 200 and wire.content_type.startswith("text/event-stream"):
                    return await self._stream(exchange, prediction, live, wire)
                reply = self._judge(exchange, wire, await wire.read_all())
                self._note_ignored(exchange, wire)
                if reply.status == 200:
                    note_origin(exchange, self._card(prediction))
                return reply
        except Aborted as aborted:
            self._explain(exchange, live, aborted.cause)
        except (WireLost, OSError):
            self._explain(exchange, live, Abort.WORKER_LOST)
        finally:
            if wire is not None:
                self._upstream.finish(wire)
        return None

    def _explain(self, exchange: Exchange, live: Live, cause: Abort) -> None:
        """Say why a request that was ended has no reply; nothing was sent yet."""
        if cause is Abort.WORKER_LOST and not live.started and not exchange.status:
            raise NotStarted
        exchange.facts["aborted"] = cause.value
        if cause is Abort.CLIENT_GONE or exchange.status:
            return
        raise Unavailable(MESSAGES[cause], code=cause.value, retry_after=RETRY_SECONDS)

    def _judge(self, exchange: Exchange, wire: Wire, body: bytes) -> Reply:
        """Turn TorchServe's whole reply into ours."""
        content_type = wire.content_type
        if content_type.endswith(sideband.SUFFIX):
            frame, body = sideband.opened(body)
            note_end(exchange, frame)
            content_type = content_type.removesuffix(sideband.SUFFIX)
            if not exchange.facts.get("failed"):
                return Reply(wire.status, body, content_type)
            content_type = JSON_TYPE  # its own went out before it failed
        reply = Reply(wire.status, body, content_type)
        value = reply.json()
        if isinstance(value, dict) and isinstance(value.get("error"), dict):
            return self._judge_error(exchange, reply, value["error"])
        if reply.status >= 400:
            self._judge_torchserve_error(reply.status, value)
        if isinstance(value, dict) and isinstance(value.get("usage"), dict):
            reasons = [choice.get("finish_reason") for choice in value.get("choices", [])]
            note_usage(exchange, value["usage"], reasons)
        return reply

    def _judge_error(self, exchange: Exchange, reply: Reply, error: dict[str, Any]) -> Reply:
        if reply.status < 400:
            reply.status = KINDS.get(str(error.get("type")), 503)
        exchange.facts["error"] = str(error.get("code") or error.get("type"))
        if reply.status >= 500:
            exchange.facts["failed"] = FAILED
        if reply.status == 429:
            seconds = self._admission.retry_after(1)
            reply.headers.append((b"retry-after", str(seconds).encode()))
        elif reply.status == 503:
            reply.headers.append((b"retry-after", str(RETRY_SECONDS).encode()))
        return reply

    def _judge_torchserve_error(self, status: int, value: Any) -> None:
        """Raise what TorchServe itself said, in our words."""
        message = str(value.get("message", "")) if isinstance(value, dict) else ""
        if status == 503 and "no worker" in message:
            seconds = self._admission.retry_after(1)
            raise TooManyRequests(
                f"The service is full; try again in {seconds} s", code="full", retry_after=seconds
            )
        if status in (500, 503):  # "Worker died.", or one that is being started anew
            raise NotStarted
        if status == 413:
            raise TooLargeForTorchServe("The body is too long for TorchServe")
        raise BadGateway("TorchServe refused the request", code="bad_gateway")

    async def _stream(
        self, exchange: Exchange, prediction: Prediction, live: Live, wire: Wire
    ) -> Reply | None:
        """Pass a stream on. Its head is sent with the first event: until then all can be told."""
        live.started = False
        first = b""
        while not first.endswith(b"\n\n"):
            piece = await wire.read()
            if not piece:
                raise WireLost
            first += piece
        live.started = live.has_flowed = True
        is_framed = wire.content_type == sideband.CONTENT_TYPE
        events, frames = sideband.split(first) if is_framed else (first, [])
        if events.startswith(b'data: {"error"'):
            return self._stream_error(exchange, events)
        self._note_ignored(exchange, wire)
        note_origin(exchange, self._card(prediction), frames[0] if frames else b"")
        exchange.facts["ttft_ms"] = round((time.perf_counter() - exchange.began) * 1000, 1)
        exchange.facts["stream"] = True
        await exchange.start(200, STREAM_HEADERS)
        relay = Relay(
            exchange,
            live,
            wire,
            self._metrics.token_gap,
            self._settings.write_seconds,
            is_framed=is_framed,
        )
        cause: Abort | None = None
        try:
            relay.take(first)
            await wire.pass_on(relay.take)
        except WireLost:
            cause = Abort.WORKER_LOST
        except asyncio.CancelledError:
            cause = live.acknowledge()
        wire.stop()
        note_end(exchange, relay.frame)
        if relay.has_ended:
            await exchange.end()
            return None
        cause = cause or Abort.WORKER_LOST
        exchange.facts["aborted"] = cause.value
        if cause is not Abort.CLIENT_GONE:
            await exchange.end(error_event(MESSAGES[cause], cause.value))
        return None

    def _stream_error(self, exchange: Exchange, first: bytes) -> Reply:
        """A stream whose first event is an error has not begun: tell it with its status."""
        line = first.split(b"\n", 1)[0].removeprefix(b"data: ")
        with contextlib.suppress(ValueError):
            error = json.loads(line)["error"]
            return self._judge_error(exchange, Reply(200, line, "application/json"), error)
        body = error_body("The worker failed", "server_error", None, None)
        return Reply(503, body, "application/json")

    def _card(self, prediction: Prediction) -> dict[str, Any]:
        return self._replicas.card(prediction.model, prediction.version) or {}

    def _note_ignored(self, exchange: Exchange, wire: Wire) -> None:
        names = wire.headers.get(ignored.HEADER.encode(), b"").decode("latin-1")
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
    async def _watch_client(exchange: Exchange, live: Live) -> None:
        await exchange.wait_disconnect()
        live.client_is_gone = True
        live.abort(Abort.CLIENT_GONE)


class TooLargeForTorchServe(GatewayError):
    """The body passed our limit and not TorchServe's."""

    status = 413
    kind = "invalid_request_error"
    code = "body_too_large"


MESSAGES = {
    Abort.WORKER_LOST: "The worker was lost while it was writing; please send the request again",
    Abort.STALLED: "The text stood still for too long and was ended",
    Abort.DRAINED: "The service is shutting down; please send the request again",
    Abort.REMOVED: "The worker was removed while it was writing; please send the request again",
    Abort.CLIENT_GONE: "The client went away",
}
