"""Spans as OTLP has them, made from what a request left behind, and sent by the SDK's exporters.

The SDK's own spans are made for code that is being watched while it runs: with a lock, a context
and checked attributes each they cost a request a third of a millisecond. Here all is known when a
request has ended, and is written as protobuf at once: a tag, a size, bytes. The numbers of fields
are those of opentelemetry/proto/trace/v1/trace.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanContext, TraceFlags

from gateway.settings import Settings

# The path of traces, which OTLP over HTTP has behind its endpoint.
TRACES_PATH = "/v1/traces"
SCOPE = "gpt2-torchserve"
# Values come again and again; what does not pushes others out.
REMEMBERED_VALUES = 512
VARINT, EIGHT_BYTES, SIZED, FOUR_BYTES = 0, 1, 2, 5
MOST_UINT64 = (1 << 64) - 1
Value = str | bool | int | float | Sequence[str]
Attributes = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Finished:
    """The spans of one request, in the shape in which the SDK collects them for its exporters."""

    # All that the SDK looks at.
    context: ClassVar[SpanContext] = SpanContext(1, 1, False, TraceFlags(TraceFlags.SAMPLED))
    spans: bytes


def varint(number: int) -> bytes:
    """Write a whole number, seven bits a byte."""
    if 0 <= number < 0x80:
        return bytes((number,))
    number &= MOST_UINT64
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def tag(field: int, kind: int) -> bytes:
    """Say which field follows, and how it is written."""
    return varint(field << 3 | kind)


def sized(field: int, content: bytes) -> bytes:
    """Write a field of bytes, a text or a message."""
    return tag(field, SIZED) + varint(len(content)) + content


def text(field: int, content: str) -> bytes:
    """Write a field of text; half a character becomes a question mark."""
    return sized(field, content.encode("utf-8", "replace"))


def attributes(field: int, values: Attributes) -> bytes:
    """Write attributes, each as the field with this number."""
    return b"".join(
        [
            _remembered(field, name, value)
            if isinstance(value, (str, bool, int, float))
            else _attribute(field, name, value)
            for name, value in values.items()
        ]
    )


def _attribute(field: int, name: str, value: Value) -> bytes:
    return sized(field, text(1, name) + sized(2, _any_value(value)))


@lru_cache(REMEMBERED_VALUES, typed=True)
def _remembered(field: int, name: str, value: str | bool | int | float) -> bytes:
    return _attribute(field, name, value)


def _any_value(value: Value) -> bytes:
    if isinstance(value, str):
        return text(1, value)
    if isinstance(value, bool):
        return tag(2, VARINT) + varint(value)
    if isinstance(value, int):
        return tag(3, VARINT) + varint(value)
    if isinstance(value, float):
        return tag(4, EIGHT_BYTES) + struct.pack("<d", value)
    return sized(5, b"".join([sized(1, text(1, each)) for each in value]))


# Trace, span, kind, start, end and flags: what every span has, in one piece.
HEAD = struct.Struct("<2s16s2s8s2sBQBQ2sI")
TRACE, SPAN = tag(1, SIZED) + varint(16), tag(2, SIZED) + varint(8)
KIND, START, END = tag(6, VARINT), tag(7, EIGHT_BYTES)[0], tag(8, EIGHT_BYTES)[0]
FLAGS = tag(16, FOUR_BYTES)
SPANS_OF_SCOPE = 2


def span(
    trace: bytes, own: bytes, parent: bytes, name: str, kind: int, times: tuple[int, int],
    flags: int, told: bytes = b"", state: str = "", error: str | None = None,
) -> bytes:  # fmt: skip
    """Write a span as one of its scope's.

    Args:
        trace: The trace's id.
        own: The span's.
        parent: Its parent's; empty where it has none.
        name: What it is called.
        kind: INTERNAL or SERVER of `Span.SpanKind`.
        times: When it began and ended, in nanoseconds since 1970.
        flags: Whether its parent is known to be elsewhere.
        told: Its attributes, written as field 9.
        state: The caller's `tracestate`.
        error: What went wrong, where something did.
    """
    start, end = times
    kind_field = KIND + varint(kind)
    content = HEAD.pack(TRACE, trace, SPAN, own, kind_field, START, start, END, end, FLAGS, flags)
    content += text(5, name) + told
    if parent:
        content += sized(4, parent)
    if state:
        content += text(3, state)
    if error is not None:
        content += sized(15, text(2, error) + tag(3, VARINT) + varint(2))
    return sized(SPANS_OF_SCOPE, content)


class Requests:
    """Puts the spans of finished requests into what OTLP sends."""

    def __init__(self, resource: Resource) -> None:
        told: dict[str, Any] = dict(resource.attributes)
        self._resource = sized(1, attributes(1, told))
        self._scope = sized(1, text(1, SCOPE))

    def of(self, finished: Sequence[Finished]) -> bytes:
        """Return a message with all of these."""
        spans = b"".join([each.spans for each in finished])
        return sized(1, self._resource + sized(2, self._scope + spans))


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
            sent = self._client.export(requests.of(spans))
            return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE

    return HttpExporter(endpoint.rstrip("/") + TRACES_PATH)


def _grpc_exporter(endpoint: str, requests: Requests) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    class GrpcExporter(OTLPSpanExporter):  # type: ignore[misc]  # likewise
        def _translate_data(self, data: Any) -> ExportTraceServiceRequest:
            made = ExportTraceServiceRequest()
            made.ParseFromString(requests.of(data))
            return made

    return GrpcExporter(endpoint)
