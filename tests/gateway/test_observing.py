"""Metrics and logs: what whoever runs the service gets to see."""

from __future__ import annotations

import io
import json
import logging
import re

from prometheus_client.parser import text_string_to_metric_families

from gateway.exchange import Exchange
from gateway.logs import JsonFormatter, RequestLog, TextFormatter
from gateway.settings import ROOT
from tests.gateway.conftest import Service, events, wait_until

VLLM_NAMES = (
    "time_to_first_token_seconds",
    "inter_token_latency_seconds",
    "e2e_request_latency_seconds",
    "request_queue_time_seconds",
    "num_requests_running",
    "num_requests_waiting",
    "prompt_tokens",
    "generation_tokens",
    "prompt_tokens_cached",
    "request_success",
)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_metrics_are_one_exposition_with_vllms_names(service: Service) -> None:
    service.complete(max_tokens=4)
    wait_until(lambda: "QueueSeconds" not in service.get("/metrics").text)
    wait_until(lambda: "gpt2_request_queue_time" in service.get("/metrics").text)
    text = service.get("/metrics").text
    families = [family.name for family in text_string_to_metric_families(text)]
    assert len(families) == len(set(families))
    assert {f"gpt2_{name}" for name in VLLM_NAMES} <= set(families)
    assert "ts_inference_requests" in families
    assert "GenerationTokens" in text


def test_tokens_and_ends_are_counted_for_streams_and_whole_replies(service: Service) -> None:
    names = (
        "gpt2_generation_tokens_total",
        "gpt2_request_success_total",
        "gpt2_prompt_tokens_total",
    )
    before = [service.metric(name) for name in names]
    service.complete("A dog", max_tokens=4)
    with service.complete("A dog", max_tokens=5, n=2, stream=True) as reply:
        events(reply)
    wait_until(lambda: service.metric(names[0]) == before[0] + 14)
    assert service.metric(names[1]) == before[1] + 3
    assert service.metric(names[2]) > before[2]


def test_one_json_line_for_each_request_and_no_text_of_its_prompt(service: Service) -> None:
    headers = {"x-request-id": "log-me-1", "traceparent": TRACE}
    prompt = "A very private sentence"
    reply = service.post(
        "/v1/completions", json={"prompt": prompt, "max_tokens": 3}, headers=headers
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
    wait_until(lambda: "gpt2_request_queue_time" in service.get("/metrics").text)
    text = service.get("/metrics").text
    dashboard = (ROOT / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8")
    asked = set(re.findall(r"gpt2_\w+", dashboard))
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
    exchange.facts["error"] = "not_ready"
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
