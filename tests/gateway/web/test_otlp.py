"""What a receiver of OTLP reads of a request's spans."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span
from opentelemetry.sdk.resources import Resource

from gateway.web.otel import INTERNAL, LOCAL, REMOTE, SERVER, Traced
from gateway.web.otlp import Attributes, Finished, Requests, Value, failed

TEXTS = st.text(max_size=300)
VALUES = st.one_of(
    TEXTS,
    st.booleans(),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False),
    st.lists(TEXTS, max_size=4),
)
TRACE, OWN = b"t" * 16, b"s" * 8
OFFSET = 1_700_000_000_000_000_000  # nanoseconds


def value_of(told: AnyValue) -> Value:
    kind = told.WhichOneof("value")
    if kind == "array_value":
        return [each.string_value for each in told.array_value.values]
    found: Value = getattr(told, str(kind))
    return found


def traced(parent: bytes = b"", state: str = "") -> Traced:
    return Traced(TRACE, OWN, parent, state, OFFSET)


def read(resource: Resource, *spans: Span) -> ResourceSpans:
    """What a receiver reads of these."""
    sent = Requests(resource).of([Finished([each]) for each in spans]).SerializeToString()
    found: list[ResourceSpans] = list(ExportTraceServiceRequest.FromString(sent).resource_spans)
    assert len(found) == 1
    return found[0]


@given(
    st.one_of(st.just(b""), st.binary(min_size=8, max_size=8)),
    TEXTS,
    st.floats(0, 1e6),
    st.floats(0, 1e3),
    st.dictionaries(TEXTS, VALUES, max_size=8),
    TEXTS,
)
def test_every_span_is_read_as_it_was_meant(
    parent: bytes, name: str, start: float, seconds: float, told: Attributes, state: str
) -> None:
    root = traced(parent, state).root(name, start, start + seconds, told)
    child = traced(state=state).child(b"c" * 8, OWN, name, start, start + seconds, told)
    received = read(Resource({"service.name": "tales"}), root, child)
    (of_scope,) = received.scope_spans
    assert received.resource.attributes[0].value.string_value == "tales"
    assert of_scope.scope.name == "gpt2-torchserve"
    first, second = of_scope.spans
    assert (first.span_id, first.parent_span_id, first.kind) == (OWN, parent, SERVER)
    assert (second.span_id, second.parent_span_id, second.kind) == (b"c" * 8, OWN, INTERNAL)
    assert (first.flags, second.flags) == (REMOTE if parent else LOCAL, LOCAL)
    for found in of_scope.spans:
        assert (found.trace_id, found.name, found.trace_state) == (TRACE, name, state)
        assert found.start_time_unix_nano == OFFSET + round(start * 1e9)
        assert found.end_time_unix_nano == OFFSET + round((start + seconds) * 1e9)
        assert {each.key: value_of(each.value) for each in found.attributes} == told
        assert not found.HasField("status")


def test_half_a_character_harms_nobody() -> None:
    span = traced().root("\ud83d", 0, 1, {"\ud83d": ["\ud83d"]})
    span.status.CopyFrom(failed("\ud83d"))
    found = read(Resource({}), span).scope_spans[0].spans[0]
    assert found.name == found.status.message == found.attributes[0].key == "?"


def test_numbers_beyond_64_bits_harm_nobody() -> None:
    span = traced().root("x", 0, 1, {"large": 1 << 70, "small": -1})
    found = read(Resource({}), span).scope_spans[0].spans[0]
    assert [each.value.int_value for each in found.attributes] == [(1 << 63) - 1, -1]
