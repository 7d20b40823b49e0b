"""Traces, as a receiver of OTLP has them that nobody here wrote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.settings import ROOT
from tests.conftest import free_ports
from tests.gateway.conftest import (
    Service,
    StartService,
    StartStandIn,
    events,
    start_service,
    start_stand_in,
    wait_until,
)
from tests.gateway.stand_in import make_java
from tests.operations.rotel import Received, Span, receiving

__all__ = ["start_service", "start_stand_in"]
SERVER, INTERNAL = 2, 1
PARENT = "b7ad6b7169203331"
STAGES = ("queue", "prefill", "decode")
# Nothing waits for a batch to be full.
AT_ONCE = {"OTEL_BSP_SCHEDULE_DELAY": "50"}


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Received]:
    with receiving(tmp_path_factory.mktemp("rotel")) as made:
        yield made


@pytest.fixture(scope="module")
def over_http(start_service: StartService, received: Received) -> Service:
    return start_service(OTEL_EXPORTER_OTLP_ENDPOINT=received.http, **AT_ONCE)


@pytest.fixture(scope="module")
def over_grpc(start_service: StartService, received: Received) -> Service:
    return start_service(
        OTEL_EXPORTER_OTLP_ENDPOINT=received.grpc,
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_SERVICE_NAME="tales",
        OTEL_TRACES_SAMPLER="parentbased_traceidratio",
        OTEL_TRACES_SAMPLER_ARG="0",
        GOOGLE_CLOUD_PROJECT="my-project",
        **AT_ONCE,
    )


def traceparent(trace: str, *, is_sampled: bool = True) -> dict[str, str]:
    return {"traceparent": f"00-{trace}-{PARENT}-{is_sampled:02x}"}


def whole(received: Received, trace: str, name: str) -> dict[str, Span]:
    """A trace's spans, once the request's own has come, which is sent last."""
    wait_until(lambda: name in received.of(trace))
    return received.of(trace)


def record(service: Service, request_id: str) -> dict[str, Any]:
    wait_until(lambda: any(r.get("request_id") == request_id for r in service.records()))
    return next(r for r in service.records() if r.get("request_id") == request_id)


def is_within(inner: Span, outer: Span) -> bool:
    return outer.begin <= inner.begin <= inner.end <= outer.end


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_streams_stages_lie_in_its_callers_trace(
    protocol: str, received: Received, request: pytest.FixtureRequest
) -> None:
    service: Service = request.getfixturevalue(f"over_{protocol}")
    trace = ("a1" if protocol == "http" else "a2") * 16
    body = {"prompt": "Hello", "max_tokens": 30, "stream": True, "ignore_eos": True, "n": 2}
    body |= {"stream_options": {"include_usage": True}}
    reply = service.post("/v1/completions", json=body, headers=traceparent(trace), stream=True)
    usage = events(reply)[-2]["usage"]
    spans = whole(received, trace, "POST completions")
    assert set(spans) == {"POST completions", "text_completion gpt2", *STAGES}
    own, generation = spans["POST completions"], spans["text_completion gpt2"]
    assert (own.kind, own.parent) == (SERVER, PARENT)
    assert (generation.kind, generation.parent) == (INTERNAL, own.id)
    assert {spans[name].parent for name in STAGES} == {generation.id}
    assert own.service == ("gpt2" if protocol == "http" else "tales")
    assert own.attributes["http.response.status_code"] == 200 and not own.is_error
    told = generation.attributes
    assert told["gen_ai.operation.name"] == "text_completion"
    assert told["gen_ai.request.model"] == told["gen_ai.response.model"] == "gpt2"
    assert told["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    assert told["gen_ai.usage.output_tokens"] == usage["completion_tokens"] == 60
    assert told["gen_ai.response.finish_reasons"] == ["length", "length"]
    assert told["gen_ai.request.stream"] is True and told["gen_ai.request.choice.count"] == 2
    assert is_within(generation, own)
    assert all(is_within(spans[name], generation) for name in STAGES)
    queue, prefill, decode = (spans[name] for name in STAGES)
    assert queue.end == prefill.begin and prefill.end == decode.begin
    assert decode.end > decode.begin


def test_embeddings_are_called_so(over_http: Service, received: Received) -> None:
    trace = "a3" * 16
    body = {"model": "gpt2", "input": ["A hare", "A fox"]}
    reply = over_http.post("/v1/embeddings", json=body, headers=traceparent(trace))
    tokens = reply.json()["usage"]["prompt_tokens"]
    spans = whole(received, trace, "POST embeddings")
    assert set(spans) == {"POST embeddings", "embeddings gpt2", "queue"}
    told = spans["embeddings gpt2"].attributes
    assert told["gen_ai.operation.name"] == "embeddings"
    assert told["gen_ai.usage.input_tokens"] == tokens


def test_a_request_without_a_trace_begins_one_that_log_and_metrics_name(
    over_http: Service, received: Received
) -> None:
    headers = {"x-request-id": "traced-1"}
    body = {"prompt": "A fox", "max_tokens": 3}
    assert over_http.post("/v1/completions", json=body, headers=headers).status_code == 200
    trace = record(over_http, "traced-1")["trace"]
    spans = whole(received, trace, "POST completions")
    own = spans["POST completions"]
    assert own.parent == "" and own.attributes["gpt2.request_id"] == "traced-1"
    assert spans["text_completion gpt2"].parent == own.id
    metrics = over_http.get("/metrics", headers={"accept": "application/openmetrics-text"}).text
    assert f'trace_id="{trace}"' in metrics


def test_a_line_of_cloud_logging_belongs_to_its_span(
    over_grpc: Service, received: Received
) -> None:
    trace = "c3" * 16
    headers = traceparent(trace) | {"x-request-id": "traced-2"}
    body = {"prompt": "A fox", "max_tokens": 3}
    assert over_grpc.post("/v1/completions", json=body, headers=headers).status_code == 200
    line = record(over_grpc, "traced-2")
    own = whole(received, trace, "POST completions")["POST completions"]
    assert line["logging.googleapis.com/trace"] == f"projects/my-project/traces/{trace}"
    assert line["logging.googleapis.com/spanId"] == own.id
    assert line["logging.googleapis.com/trace_sampled"] is True


def test_who_is_not_sampled_is_not_sent_and_has_a_trace_in_the_log(
    over_grpc: Service, over_http: Service, received: Received
) -> None:
    body = {"prompt": "A fox", "max_tokens": 3}
    unwanted, wanted = "d4" * 16, "d5" * 16
    for service, headers in (
        (over_http, traceparent(unwanted, is_sampled=False)),  # the caller keeps no trace
        (over_grpc, {}),  # OTEL_TRACES_SAMPLER_ARG is 0
        (over_http, traceparent(wanted)),
        (over_grpc, traceparent("d6" * 16)),
    ):
        name = f"sampled-{service.port}-{len(headers)}"
        headers = headers | {"x-request-id": name}
        assert service.post("/v1/completions", json=body, headers=headers).status_code == 200
        record(service, name)
    # Each service sends in order: what was not to come would have come before these.
    whole(received, wanted, "POST completions")
    whole(received, "d6" * 16, "POST completions")
    left_out = record(over_grpc, f"sampled-{over_grpc.port}-0")
    trace = left_out["logging.googleapis.com/trace"].rpartition("/")[2]
    assert left_out["logging.googleapis.com/trace_sampled"] is False
    assert received.of(unwanted) == received.of(trace) == {}


def test_a_refusal_and_a_failure_are_told_apart(over_http: Service, received: Received) -> None:
    refused, failed = "e6" * 16, "e7" * 16
    body = {"prompt": "A fox", "max_tokens": -3}
    reply = over_http.post("/v1/completions", json=body, headers=traceparent(refused))
    assert reply.status_code == 400
    own = whole(received, refused, "POST completions")["POST completions"]
    assert own.attributes["http.response.status_code"] == 400 and not own.is_error
    over_http.manage("PUT", "/models/gpt2?min_worker=0&synchronous=true").raise_for_status()
    reply = over_http.post("/v1/completions", json={"prompt": "A"}, headers=traceparent(failed))
    over_http.manage("PUT", "/models/gpt2?min_worker=1&synchronous=true").raise_for_status()
    assert reply.status_code == 503
    spans = whole(received, failed, "POST completions")
    assert set(spans) == {"POST completions"}
    own = spans["POST completions"]
    assert own.is_error and own.attributes["error.type"] == "no_workers"


def test_a_request_that_loses_its_worker_is_one_trace(
    over_http: Service, received: Received
) -> None:
    trace = "f8" * 16
    body = {"prompt": "Long ago", "max_tokens": 400, "ignore_eos": True, "stream": True}
    with over_http.post(
        "/v1/completions", json=body, headers=traceparent(trace), stream=True
    ) as reply:
        lines = reply.iter_lines()
        next(lines)
        for worker in over_http.workers():
            worker.kill()
        assert b"data: [DONE]" in list(lines)
    spans = whole(received, trace, "POST completions")
    assert spans["text_completion gpt2"].attributes["gpt2.retried"] is True
    assert all(is_within(spans[name], spans["POST completions"]) for name in STAGES)


def test_probes_make_no_traces(over_http: Service, received: Received) -> None:
    last = "fa" * 16
    for path in ("/health/ready", "/health/live", "/ping", "/metrics"):
        over_http.get(path, headers=traceparent("f9" * 16))
    over_http.get("/v1/models", headers=traceparent(last))
    whole(received, last, "GET list_models")
    assert received.of("f9" * 16) == {}


def test_a_receiver_that_is_away_costs_no_reply_and_no_end(start_service: StartService) -> None:
    pytest.importorskip("opentelemetry.sdk")
    [port] = free_ports(1)
    service = start_service(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}", **AT_ONCE)
    assert service.complete(max_tokens=3).status_code == 200
    assert service.stop() == 0


def test_without_an_endpoint_nothing_of_it_is_loaded(start_stand_in: StartStandIn) -> None:
    service = start_stand_in(OTEL_TRACES_SAMPLER="always_on")
    maps = psutil.Process(service.process.pid).memory_maps()
    assert not any("grpc" in each.path for each in maps)
    code = (
        "import sys, gateway.supervisor\n"
        "from gateway.settings import Settings\n"
        "from gateway.assembly import make_tracing\n"
        "make_tracing(Settings())\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "must be like http://collector:4318"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
        ({"OTEL_TRACES_SAMPLER": "some"}, "OTEL_TRACES_SAMPLER"),
        ({"OTEL_TRACES_SAMPLER_ARG": "2"}, "OTEL_TRACES_SAMPLER_ARG"),
    ],
)
def test_what_cannot_be_used_ends_the_start_with_its_name(
    start_service: StartService, settings: dict[str, str], words: str
) -> None:
    ends(start_service(ready=False, **settings), words)


def test_packages_that_are_not_there_end_the_start_with_what_to_do(
    start_service: StartService, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['opentelemetry.sdk'] = None\n", encoding="utf-8"
    )
    settings = make_java(tmp_path) | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    ends(start_service(ready=False, **settings), "python3 -m commands install serve trace")


def ends(service: Service, words: str) -> None:
    """Wait for a service that does not start, and look for why."""
    wait_until(lambda: service.process.poll() is not None)
    wait_until(lambda: any(words in line for line in service.log))
    assert service.process.returncode == 1
    assert not any("Traceback" in line for line in service.log)
