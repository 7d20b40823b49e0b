"""Spans of a request, sent over OTLP: HTTP, generation by the `gen_ai` conventions, its stages.

What is measured anyway (`record.py`) becomes spans when a request has ended, so that nothing is
done for them while tokens flow.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    ParentBasedTraceIdRatio,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from gateway.settings import Settings
from gateway.web.exchange import Exchange
from gateway.web.logs import PROBE_PATHS, SILENT_PATHS
from gateway.web.record import Record
from gateway.web.tracing import Tracing

UNTRACED = (*PROBE_PATHS, *SILENT_PATHS)
# The path of traces, which OTLP over HTTP has behind its endpoint.
TRACES_PATH = "/v1/traces"
CLOSING_SECONDS = 1.0
SAMPLERS: Mapping[str, Callable[[float], Sampler]] = {
    "always_on": lambda _: ALWAYS_ON,
    "always_off": lambda _: ALWAYS_OFF,
    "traceidratio": TraceIdRatioBased,
    "parentbased_always_on": lambda _: DEFAULT_ON,
    "parentbased_always_off": lambda _: DEFAULT_OFF,
    "parentbased_traceidratio": ParentBasedTraceIdRatio,
}
# What the conventions call an operation, by the route's name; the rest completes text.
OPERATIONS = {"chats": "chat", "embeddings": "embeddings"}
NANOSECONDS = 1_000_000_000
Attributes = dict[str, AttributeValue]


@dataclass(slots=True)
class Traced:
    """A request's own span, and what makes the clock of `perf_counter` that of the day."""

    span: Span
    offset: int  # nanoseconds

    def at(self, moment: float) -> int:
        """Nanoseconds since 1970 of a moment in seconds of `perf_counter`."""
        return self.offset + round(moment * NANOSECONDS)


class OpenTelemetry(Tracing):
    """Makes spans and sends them in batches, in a thread of the SDK's."""

    def __init__(self, settings: Settings) -> None:
        resource = Resource.create({"service.name": settings.otel_service_name})
        sampler = SAMPLERS[settings.otel_traces_sampler](settings.otel_traces_sampler_arg)
        self._provider = TracerProvider(sampler, resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_exporter(settings)))
        self._tracer = self._provider.get_tracer("gpt2-torchserve")
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, exchange: Exchange) -> None:
        """See `Tracing.begin`: it continues the caller's trace, or begins one."""
        if exchange.path.startswith(UNTRACED):
            return
        offset = time.time_ns() - time.perf_counter_ns()
        # Without a context that is named, a span would be looked for in the task's own.
        parent = self._propagator.extract(exchange.headers, Context())
        start = offset + round(exchange.began * NANOSECONDS)
        span = self._tracer.start_span(
            exchange.method, parent, kind=SpanKind.SERVER, start_time=start
        )
        exchange.traced = Traced(span, offset)
        own = span.get_span_context()
        exchange.join_trace(f"{own.trace_id:032x}", f"{own.span_id:016x}", own.trace_flags.sampled)

    def end(self, exchange: Exchange) -> None:
        """See `Tracing.end`."""
        traced = exchange.traced
        if not isinstance(traced, Traced) or not traced.span.is_recording():
            return
        end = time.perf_counter()
        span, status, record = traced.span, exchange.status or 499, exchange.record
        span.update_name(f"{exchange.method} {record.route}")
        span.set_attributes(_http_attributes(exchange, status))
        fault = record.aborted or record.failed or (record.error if status >= 500 else None)
        if fault:
            span.set_attribute("error.type", fault)
        if status >= 500 or record.failed:
            span.set_status(Status(StatusCode.ERROR, fault))
        if record.entered_at is not None:
            self._tell_generation(traced, record, record.entered_at, end)
        span.end(traced.at(end))

    def _tell_generation(self, traced: Traced, record: Record, start: float, end: float) -> None:
        operation = OPERATIONS.get(record.route, "text_completion")
        context = set_span_in_context(traced.span, Context())
        span = self._tracer.start_span(
            f"{operation} {record.model}",
            context,
            attributes=_generation_attributes(operation, record),
            start_time=traced.at(start),
        )
        inner = set_span_in_context(span, context)
        times = record.times
        queued_until = start + (record.queued_ms or 0.0) / 1000
        stages = [("queue", start, queued_until if times is None else times.scheduled)]
        if times is not None:
            stages += [
                ("prefill", times.scheduled, times.first),
                ("decode", times.first, times.last),
            ]
        for name, begin, until in stages:
            stage = self._tracer.start_span(name, inner, start_time=traced.at(begin))
            stage.end(traced.at(until))
        span.end(traced.at(end))

    def close(self) -> None:
        """See `Tracing.close`."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSING_SECONDS)


def _exporter(settings: Settings) -> SpanExporter:
    """What sends spans; the SDK itself reads headers, certificates and times from `OTEL_...`."""
    endpoint = settings.otel_exporter_otlp_endpoint
    if settings.otel_exporter_otlp_protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter(endpoint)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint.rstrip("/") + TRACES_PATH)


def _http_attributes(exchange: Exchange, status: int) -> Attributes:
    record = exchange.record
    found: Attributes = {
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


def _generation_attributes(operation: str, record: Record) -> Attributes:
    found: Attributes = {
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
