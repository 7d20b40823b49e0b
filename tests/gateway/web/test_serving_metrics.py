"""What is measured of generation, as tools that are built on vLLM's metrics read it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.conftest import Service, StartService, events, wait_until

OPENMETRICS = {"accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"}
# Of vLLM's documentation (docs/usage/metrics.md), what has its meaning here too.
GAUGES = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
COUNTERS = (
    "prompt_tokens",
    "prompt_tokens_cached",
    "generation_tokens",
    "prefix_cache_queries",
    "prefix_cache_hits",
    "request_success",
)
HISTOGRAMS = (
    "time_to_first_token_seconds",
    "inter_token_latency_seconds",
    "request_time_per_output_token_seconds",
    "e2e_request_latency_seconds",
    "request_queue_time_seconds",
    "request_prefill_time_seconds",
    "request_decode_time_seconds",
    "request_inference_time_seconds",
    "request_prompt_tokens",
    "request_generation_tokens",
)


@pytest.fixture(scope="module")
def measured(start_service: StartService) -> Iterator[Service]:
    """A service that nobody else asks."""
    yield start_service()


def families(service: Service) -> dict[str, Metric]:
    text = service.get("/metrics").text
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_each_has_vllms_name_kind_and_labels(measured: Service) -> None:
    measured.complete(max_tokens=4)
    wait_until(lambda: "vllm:kv_cache_usage_perc" in families(measured))
    found = families(measured)
    for names, kind in ((GAUGES, "gauge"), (COUNTERS, "counter"), (HISTOGRAMS, "histogram")):
        for name in names:
            family = found[f"vllm:{name}"]
            assert family.type == kind, name
            assert family.samples, name
            for sample in family.samples:
                assert (sample.labels["model_name"], sample.labels["engine"]) == ("gpt2", "0")


def test_counters_are_there_before_anything_is_counted(start_service: StartService) -> None:
    found = families(start_service())
    for name in ("prompt_tokens", "generation_tokens", "prefix_cache_hits", "request_success"):
        assert [sample.value for sample in found[f"vllm:{name}"].samples if sample.value] == []
        assert found[f"vllm:{name}"].samples, name
    reasons = {sample.labels["reason"] for sample in found["gpt2_request_failure"].samples}
    assert {"worker_lost", "stalled", "handler_error", "client_gone"} <= reasons


@pytest.mark.parametrize("is_stream", [False, True])
def test_every_time_between_two_tokens_is_counted(measured: Service, is_stream: bool) -> None:
    name = "vllm:inter_token_latency_seconds_count"
    before, tokens = measured.metric(name), measured.metric("vllm:generation_tokens_total")
    options = {"max_tokens": 20, "n": 3, "stream": is_stream, "ignore_eos": True}
    with measured.complete("A dog", **options) as reply:
        assert reply.content
    wait_until(lambda: measured.metric("vllm:generation_tokens_total") == tokens + 60)
    assert measured.metric(name) == before + 3 * 19


def test_the_stages_of_a_request_add_up_to_less_than_all_of_it(measured: Service) -> None:
    def sums() -> dict[str, float]:
        return {name: measured.metric(f"vllm:{name}_sum") for name in HISTOGRAMS}

    before = sums()
    counted = measured.metric("vllm:e2e_request_latency_seconds_count")
    with measured.complete("The sea", max_tokens=50, ignore_eos=True, stream=True) as reply:
        events(reply)
    name = "vllm:e2e_request_latency_seconds_count"
    wait_until(lambda: measured.metric(name) == counted + 1)
    spent = {name: value - before[name] for name, value in sums().items()}
    whole = spent["e2e_request_latency_seconds"]
    queued, prefill = spent["request_queue_time_seconds"], spent["request_prefill_time_seconds"]
    decode = spent["request_decode_time_seconds"]
    assert all(seconds >= 0 for seconds in spent.values())
    assert prefill > 0 and decode > 0
    assert math.isclose(prefill + decode, spent["request_inference_time_seconds"], rel_tol=1e-3)
    assert queued + prefill < spent["time_to_first_token_seconds"] + 1e-3
    assert queued + prefill + decode < whole
    assert math.isclose(decode, spent["inter_token_latency_seconds"], rel_tol=1e-3)
    assert spent["request_generation_tokens"] == 50


def test_the_caches_share_rises_with_what_runs_and_falls_to_nothing(measured: Service) -> None:
    wait_until(lambda: measured.metric("vllm:kv_cache_usage_perc") == 0)
    options = {"max_tokens": 900, "n": 8, "ignore_eos": True, "stream": True}
    with measured.complete("Long ago", **options) as reply:
        next(reply.iter_lines())
        wait_until(lambda: measured.metric("vllm:kv_cache_usage_perc") > 0)
        assert measured.metric("vllm:kv_cache_usage_perc") <= 1
    wait_until(lambda: measured.metric("vllm:kv_cache_usage_perc") == 0)


def test_hits_of_the_cache_are_tokens_that_were_asked_for(measured: Service) -> None:
    names = ("vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total")
    prompt = "Nobody else sends this prompt: " + "the ninth hen walks, " * 8
    measured.complete(prompt, max_tokens=1)
    before = [measured.metric(name) for name in names]
    usage = measured.complete(prompt, max_tokens=1).json()["usage"]
    asked, hits = (measured.metric(name) - was for name, was in zip(names, before, strict=True))
    assert asked == usage["prompt_tokens"]
    assert hits == usage["prompt_tokens_details"]["cached_tokens"] > asked / 2


def test_openmetrics_holds_the_same_families_and_parses_strictly(measured: Service) -> None:
    measured.complete(max_tokens=2)
    wait_until(lambda: "QueueSeconds_count" in measured.get("/metrics").text)
    reply = measured.get("/metrics", headers=OPENMETRICS)
    assert reply.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    strict = {family.name for family in openmetrics_families(reply.text)}
    assert {name for name in families(measured) if not name.endswith("_created")} <= strict


@pytest.mark.parametrize(("flags", "is_named"), [("01", True), ("00", False)])
def test_a_bucket_names_a_trace_that_is_kept(measured: Service, flags: str, is_named: bool) -> None:
    trace = ("ab" if is_named else "cd") * 16
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-{flags}"}
    body = {"prompt": "A cat", "max_tokens": 3, "stream": True}
    assert measured.post("/v1/completions", json=body, headers=headers).content

    def named() -> set[str]:
        text = measured.get("/metrics", headers=OPENMETRICS).text
        return {
            sample.name
            for family in openmetrics_families(text)
            for sample in family.samples
            if sample.exemplar and sample.exemplar.labels == {"trace_id": trace}
        }

    expected = {
        "vllm:time_to_first_token_seconds_bucket",
        "vllm:e2e_request_latency_seconds_bucket",
    }
    if is_named:
        wait_until(lambda: named() == expected)
    else:
        assert named() == set()
    assert "trace_id" not in measured.get("/metrics").text  # the plain format has no exemplars


def test_buckets_rise(measured: Service) -> None:
    measured.complete(max_tokens=30, ignore_eos=True)
    family = families(measured)["vllm:inter_token_latency_seconds"]
    buckets = [each for each in family.samples if each.name.endswith("_bucket")]
    assert all(low.value <= high.value for low, high in pairwise(buckets))
    assert buckets[-1].labels["le"] == "+Inf"
