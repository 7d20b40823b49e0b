"""Spans as OTLP has them, made from what a request left behind, and sent by the SDK's exporters.

The SDK's own spans are made for code that is being watched while it runs: with a lock, a context
and checked attributes each they cost a request a third of a millisecond. Here all is known when a
request has ended, and OTLP's own messages are filled in at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as ResourceMessage
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags

from gateway.settings import Settings

# The path of traces, which OTLP over HTTP has behind its endpoint.
TRACES_PATH = "/v1/traces"
SCOPE = "gpt2-torchserve"
INT64 = range(-(1 << 63), 1 << 63)
Value = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Finished:
    """The spans of one request, in the shape in which the SDK collects them for its exporters."""

    # All that the SDK looks at.
    context: ClassVar[SpanContext] = SpanContext(1, 1, False, TraceFlags(TraceFlags.SAMPLED))
    spans: list[Span]


def text(content: str) -> str:
    """Return a text that OTLP can hold: half a character becomes a question mark."""
    return content if content.isascii() else content.encode("utf-8", "replace").decode()


def key_values(told: Attributes) -> list[KeyValue]:
    """Return attributes as OTLP has them."""
    return [KeyValue(key=text(name), value=_any_value(value)) for name, value in told.items()]


def _any_value(value: Value) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=text(value))
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=min(max(value, INT64[0]), INT64[-1]))
    if isinstance(value, float):
        return AnyValue(double_value=value)
    items = [AnyValue(string_value=text(each)) for each in value]
    return AnyValue(array_value=ArrayValue(values=items))


def failed(message: str) -> Status:
    """Return the status of a span in which something went wrong."""
    return Status(code=Status.STATUS_CODE_ERROR, message=text(message))


class Requests:
    """Puts the spans of finished requests into what OTLP sends."""

    def __init__(self, resource: Resource) -> None:
        told: dict[str, Any] = dict(resource.attributes)
        self._resource = ResourceMessage(attributes=key_values(told))
        self._scope = InstrumentationScope(name=SCOPE)

    def of(self, finished: Sequence[Finished]) -> ExportTraceServiceRequest:
        """Return a message with all of these."""
        spans = [span for each in finished for span in each.spans]
        scopes = [ScopeSpans(scope=self._scope, spans=spans)]
        made = ResourceSpans(resource=self._resource, scope_spans=scopes)
        return ExportTraceServiceRequest(resource_spans=[made])


def make_exporter(settings: Settings, resource: Resource) -> SpanExporter:
    """What sends spans; the SDK itself reads headers, certificates and times from `OTEL_...`."""
    requests = Requests(resource)
    if settings.otel_exporter_otlp_protocol == "grpc":
        return _grpc_exporter(settings.otel_exporter_otlp_endpoint, requests)
    return _http_exporter(settings.otel_exporter_otlp_endpoint, requests)


def _http_exporter(endpoint: str, requests: Requests) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    class HttpExporter(OTLPSpanExporter):  # type: ignore[misc]  # mypy does not read it
        def export(self, spans: Any) -> SpanExportResult:
            """Send what has ended."""
            sent = self._client.export(requests.of(spans).SerializeToString())
            return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE

    return HttpExporter(endpoint.rstrip("/") + TRACES_PATH)


def _grpc_exporter(endpoint: str, requests: Requests) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    class GrpcExporter(OTLPSpanExporter):  # type: ignore[misc]  # likewise
        def _translate_data(self, data: Any) -> ExportTraceServiceRequest:
            return requests.of(data)

    return GrpcExporter(endpoint)
