"""Spans of a request, sent over OTLP: HTTP, generation by the `gen_ai` conventions, its stages.

What is measured anyway (`record.py`) becomes spans when a request has ended, so that nothing is
done for them while tokens flow. A request that is not sampled costs two numbers.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from gateway.settings import Settings
from gateway.web.exchange import Exchange
from gateway.web.logs import PROBE_PATHS, SILENT_PATHS
from gateway.web.otlp import Attributes, Finished, Value, failed, key_values, make_exporter, text
from gateway.web.record import Record
from gateway.web.tracing import Tracing

UNTRACED = (*PROBE_PATHS, *SILENT_PATHS)
CLOSING_SECONDS = 1.0
# What the conventions call an operation, by the route's name; the rest completes text.
OPERATIONS = {"chats": "chat", "embeddings": "embeddings"}
NANOSECONDS = 1_000_000_000
NO_TRACE, NO_SPAN = "0" * 32, "0" * 16
LONGEST_STATE = 512
SERVER, INTERNAL = Span.SpanKind.SPAN_KIND_SERVER, Span.SpanKind.SPAN_KIND_INTERNAL
LOCAL = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
REMOTE = LOCAL | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
# Of a trace's number, the digits that a share of all is told by.
RATIO_DIGITS = 16


def _always(share: float, trace: str) -> bool:
    return True


def _never(share: float, trace: str) -> bool:
    return False


def _by_ratio(share: float, trace: str) -> bool:
    """Whether a trace is in a share of all: the same for everybody who asks."""
    bound: int = round(share * 16**RATIO_DIGITS)
    return int(trace[-RATIO_DIGITS:], 16) < bound


# Whether a trace is kept, by the setting's name behind `parentbased_`.
SAMPLERS: Mapping[str, Callable[[float, str], bool]] = {
    "always_on": _always,
    "always_off": _never,
    "traceidratio": _by_ratio,
}
PARENT_BASED = "parentbased_"


@dataclass(slots=True)
class Traced:
    """A request's place in its trace, and what turns moments of `perf_counter` into the day's."""

    trace: bytes
    span: bytes
    parent: bytes
    state: str
    offset: int  # nanoseconds

    def at(self, moment: float) -> int:
        """Nanoseconds since 1970 of a moment in seconds of `perf_counter`."""
        return self.offset + round(moment * NANOSECONDS)

    def root(self, name: str, start: float, end: float, told: Attributes) -> Span:
        """The request's own span."""
        flags = REMOTE if self.parent else LOCAL
        return self._make(
            span_id=self.span, parent_span_id=self.parent, kind=SERVER, flags=flags,
            name=text(name), start=start, end=end, told=told,
        )  # fmt: skip

    def child(
        self, own: bytes, parent: bytes, name: str, start: float, end: float, told: Attributes
    ) -> Span:
        """A span within the request."""
        return self._make(
            span_id=own, parent_span_id=parent, kind=INTERNAL, flags=LOCAL,
            name=text(name), start=start, end=end, told=told,
        )  # fmt: skip

    def _make(self, *, start: float, end: float, told: Attributes, **fields: Any) -> Span:
        return Span(
            trace_id=self.trace,
            trace_state=text(self.state),
            start_time_unix_nano=self.at(start),
            end_time_unix_nano=self.at(end),
            attributes=key_values(told),
            **fields,
        )


class OpenTelemetry(Tracing):
    """Makes spans and sends them in batches, in a thread of the SDK's."""

    def __init__(self, settings: Settings) -> None:
        resource = Resource.create({"service.name": settings.otel_service_name})
        name = settings.otel_traces_sampler
        self._heeds_parent = name.startswith(PARENT_BASED)
        sampler = SAMPLERS[name.removeprefix(PARENT_BASED)]
        self._samples = partial(sampler, settings.otel_traces_sampler_arg)
        self._processor = BatchSpanProcessor(make_exporter(settings, resource))

    def begin(self, exchange: Exchange) -> None:
        """See `Tracing.begin`: it continues the caller's trace, or begins one."""
        if exchange.path.startswith(UNTRACED):
            return
        trace, parent = exchange.trace, exchange.span
        if trace is None or parent is None or trace == NO_TRACE or parent == NO_SPAN:
            trace, parent = _new_id(16).hex(), None
        if parent is not None and self._heeds_parent:
            is_sampled = exchange.is_sampled
        else:
            is_sampled = self._samples(trace)
        own = _new_id(8)
        if is_sampled:
            offset = time.time_ns() - time.perf_counter_ns()
            state = exchange.headers.get("tracestate", "") if parent else ""
            if len(state) > LONGEST_STATE:
                state = ""
            above = bytes.fromhex(parent or "")
            exchange.traced = Traced(bytes.fromhex(trace), own, above, state, offset)
        exchange.join_trace(trace, own.hex(), is_sampled)

    def end(self, exchange: Exchange) -> None:
        """See `Tracing.end`."""
        traced = exchange.traced
        if not isinstance(traced, Traced):
            return
        end = time.perf_counter()
        status, record = exchange.status or 499, exchange.record
        told = _http_attributes(exchange, status)
        fault = record.aborted or record.failed or (record.error if status >= 500 else None)
        if fault:
            told["error.type"] = fault
        root = traced.root(f"{exchange.method} {record.route}", exchange.began, end, told)
        if status >= 500 or record.failed:
            root.status.CopyFrom(failed(fault or ""))
        spans = [root]
        if record.entered_at is not None:
            spans += _generation(traced, record, record.entered_at, end)
        self._processor.on_end(Finished(spans))

    def close(self) -> None:
        """See `Tracing.close`."""
        closing = threading.Thread(target=self._processor.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSING_SECONDS)


def _new_id(size: int) -> bytes:
    """Return a number for a trace or a span, which is not 0."""
    return random.getrandbits(8 * size).to_bytes(size, "big") or _new_id(size)


def _generation(traced: Traced, record: Record, start: float, end: float) -> list[Span]:
    """Return the span of what the model did, and those of its stages."""
    operation = OPERATIONS.get(record.route, "text_completion")
    told, own = _generation_attributes(operation, record), _new_id(8)
    spans = [traced.child(own, traced.span, f"{operation} {record.model}", start, end, told)]
    times = record.times
    queued_until = start + (record.queued_ms or 0.0) / 1000
    stages = [("queue", start, queued_until if times is None else times.scheduled)]
    if times is not None:
        stages += [("prefill", times.scheduled, times.first), ("decode", times.first, times.last)]
    for name, begin, until in stages:
        spans.append(traced.child(_new_id(8), own, name, begin, until, {}))
    return spans


def _http_attributes(exchange: Exchange, status: int) -> dict[str, Value]:
    record = exchange.record
    found: dict[str, Value] = {
        "http.request.method": exchange.method,
        "url.path": exchange.path[:200],
        "http.response.status_code": status,
        "http.response.body.size": exchange.bytes_sent,
        "client.address": record.client or exchange.peer,
        "gpt2.request_id": exchange.request_id,
    }
    if record.key is not None:
        found["gpt2.key"] = record.key
    return found


def _generation_attributes(operation: str, record: Record) -> dict[str, Value]:
    found: dict[str, Value] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "gpt2-torchserve",
        "gen_ai.request.model": record.model or "",
        "gen_ai.response.model": record.model or "",
        "gen_ai.request.choice.count": record.n or 0,
        "gen_ai.request.stream": bool(record.stream),
        "gpt2.replica": record.replica or "",
        "gpt2.retried": bool(record.retried),
    }
    if record.ttft_ms is not None:
        found["gen_ai.response.time_to_first_chunk"] = record.ttft_ms / 1000
    usage = record.usage
    if usage is not None:
        found["gen_ai.usage.input_tokens"] = usage.prompt_tokens
        found["gen_ai.usage.output_tokens"] = usage.completion_tokens
        found["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
        found["gen_ai.response.finish_reasons"] = usage.finish_reasons
    return found
