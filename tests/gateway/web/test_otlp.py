"""What is written of spans, as OTLP's own reader has it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.resources import Resource

from gateway.web.otel import ATTRIBUTES
from gateway.web.otlp import Attributes, Finished, Requests, Value, attributes, span

TEXTS = st.text(max_size=300)
VALUES = st.one_of(
    TEXTS,
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False),
    st.lists(TEXTS, max_size=4),
)
MOMENTS = st.integers(0, (1 << 64) - 1)


def value_of(told: AnyValue) -> Value:
    kind = told.WhichOneof("value")
    if kind == "array_value":
        return [each.string_value for each in told.array_value.values]
    found: Value = getattr(told, str(kind))
    return found


def read(resource: Resource, *spans: bytes) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    request.ParseFromString(Requests(resource).of([Finished(each) for each in spans]))
    return request


@given(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=8, max_size=8),
    st.one_of(st.just(b""), st.binary(min_size=8, max_size=8)),
    TEXTS,
    st.sampled_from([Span.SpanKind.SPAN_KIND_SERVER, Span.SpanKind.SPAN_KIND_INTERNAL]),
    st.tuples(MOMENTS, MOMENTS),
    st.integers(0, (1 << 32) - 1),
    st.dictionaries(TEXTS, VALUES, max_size=8),
    TEXTS,
    st.one_of(st.none(), TEXTS),
)
def test_every_span_is_read_as_it_was_meant(
    trace: bytes,
    own: bytes,
    parent: bytes,
    name: str,
    kind: int,
    times: tuple[int, int],
    flags: int,
    told: Attributes,
    state: str,
    error: str | None,
) -> None:
    written = span(
        trace, own, parent, name, kind, times, flags, attributes(ATTRIBUTES, told), state, error
    )
    request = read(Resource({"service.name": "tales"}), written, written)
    (of_resource,) = request.resource_spans
    (of_scope,) = of_resource.scope_spans
    assert of_resource.resource.attributes[0].value.string_value == "tales"
    assert of_scope.scope.name == "gpt2-torchserve"
    for found in of_scope.spans:
        assert (found.trace_id, found.span_id, found.parent_span_id) == (trace, own, parent)
        assert (found.name, found.kind, found.trace_state) == (name, kind, state)
        assert (found.start_time_unix_nano, found.end_time_unix_nano) == times
        assert found.flags == flags
        assert {each.key: value_of(each.value) for each in found.attributes} == told
        is_error = found.status.code == Status.STATUS_CODE_ERROR
        assert is_error == (error is not None) and found.status.message == (error or "")
    assert len(of_scope.spans) == 2


def test_half_a_character_harms_nobody() -> None:
    written = span(b"t" * 16, b"s" * 8, b"", "\ud83d", 1, (0, 0), 0)
    assert read(Resource({}), written).resource_spans[0].scope_spans[0].spans[0].name == "?"


def test_numbers_beyond_64_bits_harm_nobody() -> None:
    told = attributes(ATTRIBUTES, {"large": 1 << 70, "small": -1})
    written = span(b"t" * 16, b"s" * 8, b"", "x", 1, (0, 0), 0, told)
    found = read(Resource({}), written).resource_spans[0].scope_spans[0].spans[0]
    assert found.attributes[1].value.int_value == -1
