"""Metrics and logs: what whoever runs the service gets to see."""

from __future__ import annotations

import io
import json
import logging
import re
import socket
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from archive.native_build import TARGETS
from gateway.settings import ROOT
from gateway.web.exchange import Exchange
from gateway.web.logs import JsonFormatter, RequestLog, TextFormatter
from tests.gateway.conftest import Service, StartService, events, wait_until
from tests.patience import PATIENCE

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def service(start_service: StartService) -> Service:
    """One that nobody else asks anything: counters are told exactly."""
    return start_service()


def test_metrics_are_one_exposition_with_torchserves_and_the_handlers(service: Service) -> None:
    service.complete(max_tokens=4)
    wait_until(lambda: "QueueSeconds_count" in service.get("/metrics").text)
    text = service.get("/metrics").text
    families = [family.name for family in text_string_to_metric_families(text)]
    assert len(families) == len(set(families))
    assert {"ts_inference_requests", "gpt2_http_requests", "vllm:generation_tokens"} <= set(
        families
    )
    # Names without `_total` are TorchServe's, and known to its users.
    assert re.search(r"^GenerationTokens\{.*\} \d", text, re.M)


def test_tokens_and_ends_are_counted_for_streams_and_whole_replies(service: Service) -> None:
    names = (
        "vllm:generation_tokens_total",
        "vllm:request_success_total",
        "vllm:prompt_tokens_total",
    )
    before = [service.metric(name) for name in names]
    service.complete("A dog", max_tokens=4)
    with service.complete("A dog", max_tokens=5, n=2, stream=True) as reply:
        events(reply)
    wait_until(lambda: service.metric(names[0]) == before[0] + 14)
    assert service.metric(names[1]) == before[1] + 3
    assert service.metric(names[2]) > before[2]


def test_every_text_of_a_stream_is_counted_however_early_it_ended(service: Service) -> None:
    name = "vllm:request_success_total"
    before = service.metric(name)
    options = {"n": 8, "max_tokens": 300, "stop": [" the"], "seed": 1, "stream": True}
    with service.complete("One day", **options) as reply:
        ends = [
            choice["finish_reason"]
            for event in events(reply)[:-1]
            for choice in event["choices"]
            if choice["finish_reason"]
        ]
    assert len(ends) == 8
    wait_until(lambda: service.metric(name) == before + 8)


def test_plain_text_is_counted_and_logged_as_any_other(service: Service) -> None:
    names = ("vllm:generation_tokens_total", "vllm:e2e_request_latency_seconds_count")
    before = [service.metric(name) for name in names]
    headers = {"content-type": "text/plain", "x-request-id": "plain-1"}
    reply = service.post("/predictions/gpt2", data=b"The old man", headers=headers)
    assert reply.status_code == 200
    wait_until(lambda: service.metric(names[1]) == before[1] + 1)
    assert service.metric(names[0]) > before[0]
    lines = [r for r in service.records() if r.get("request_id") == "plain-1"]
    assert lines[0]["completion_tokens"] > 0


def test_tokens_of_a_prompt_that_are_still_held_are_counted(service: Service) -> None:
    name = "vllm:prompt_tokens_cached_total"
    prompt = "A prompt that only this test sends: " + "the seventh cat sleeps, " * 8
    counts = []
    for _ in range(2):
        before = service.metric(name)
        usage = service.complete(prompt, max_tokens=2).json()["usage"]
        counts.append(service.metric(name) - before)
        assert counts[-1] == usage["prompt_tokens_details"]["cached_tokens"]
    assert counts[0] < usage["prompt_tokens"] / 2 < counts[1]


@pytest.mark.parametrize(
    ("request_bytes", "status", "path"),
    [
        (b"nonsense\r\n\r\n", 400, "-"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 20_000, 431, "-"),
        (
            b"POST /generate HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            400,
            "/generate",
        ),
    ],
)
def test_what_the_server_refuses_is_counted_and_has_one_line(
    service: Service, request_bytes: bytes, status: int, path: str
) -> None:
    def lines() -> list[tuple[int, str]]:
        return [
            (record["httpRequest"]["status"], record["request_id"])
            for record in service.records()
            if record.get("httpRequest", {}).get("requestUrl") == path
        ]

    before, counted = lines(), service.metric("gpt2_http_requests_total")
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as made:
        made.sendall(request_bytes)
        received = made.recv(65536)
    assert received.startswith(b"HTTP/1.1 %d " % status)
    told = re.findall(rb"\r\nx-request-id: ([0-9a-f]{24})\r\n", received)
    assert len(told) == 1
    wait_until(lambda: len(lines()) > len(before))
    time.sleep(0.2)
    assert lines() == [*before, (status, told[0].decode())]
    # The other one is the reading of the first value.
    assert service.metric("gpt2_http_requests_total") == counted + 2


def test_one_json_line_for_each_request_and_no_text_of_its_prompt(service: Service) -> None:
    headers = {"x-request-id": "log-me-1", "traceparent": TRACE}
    prompt = "A very private sentence"
    reply = service.post(
        "/v1/completions", json={"prompt": prompt, "max_tokens": 3, "seed": 1}, headers=headers
    )
    assert reply.headers["x-request-id"] == "log-me-1"
    wait_until(lambda: any(r.get("request_id") == "log-me-1" for r in service.records()))
    lines = [r for r in service.records() if r.get("request_id") == "log-me-1"]
    assert len(lines) == 1
    line = lines[0]
    assert line["httpRequest"]["status"] == 200 and line["severity"] == "INFO"
    assert line["completion_tokens"] == 3 and line["key"] == "anonymous"
    assert re.fullmatch(r"\d+\.\d+s", line["httpRequest"]["latency"])
    assert line["trace"] == TRACE.split("-")[1]
    assert "private" not in "\n".join(service.log)


def test_the_dashboard_asks_for_metrics_that_there_are(service: Service) -> None:
    service.complete(max_tokens=4)
    text = service.get("/metrics").text
    dashboard = (ROOT / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8")
    asked = set(re.findall(r"(?:gpt2_|vllm:)\w+", dashboard))
    assert len(asked) > 10
    assert [name for name in asked if not re.search(rf"^# \w+ {name}|^{name}", text, re.M)] == []


def request_line(formatter: logging.Formatter, project: str) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger = logging.getLogger("gateway.requests")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    async def nothing(*_: object) -> dict[str, object]:
        return {}

    scope = {
        "method": "POST",
        "path": "/generate",
        "client": ("1.2.3.4", 5),
        "headers": [(b"traceparent", TRACE.encode())],
    }
    exchange = Exchange(scope, nothing, nothing)  # type: ignore[arg-type]
    exchange.status = 503
    exchange.record.error = "not_ready"
    RequestLog(project).write(exchange)
    logger.removeHandler(handler)
    return stream.getvalue()


def test_on_cloud_run_a_line_belongs_to_its_trace() -> None:
    line = json.loads(request_line(JsonFormatter(), "my-project"))
    trace = TRACE.split("-")[1]
    assert line["logging.googleapis.com/trace"] == f"projects/my-project/traces/{trace}"
    assert line["severity"] == "ERROR" and line["error"] == "not_ready"


def test_on_a_terminal_a_line_can_be_read() -> None:
    line = request_line(TextFormatter(), "")
    assert re.fullmatch(r"\d\d:\d\d:\d\d error: POST /generate 503 \d+ ms, error not_ready\n", line)


def test_what_computes_is_told_by_the_card_the_log_and_a_metric(service: Service) -> None:
    [card] = service.get("/v1/models").json()["data"]
    assert (card["engine"], card["precision"]) == ("native", "int8")
    assert card["isa"] in TARGETS
    samples = text_string_to_metric_families(service.get("/metrics").text)
    [info] = [family.samples[0] for family in samples if family.name == "gpt2_engine_info"]
    assert info.value == 1 and info.labels["isa"] == card["isa"] and info.labels["model"] == "gpt2"
    assert any(f"engine native {card['isa']}" in record["message"] for record in service.records())
