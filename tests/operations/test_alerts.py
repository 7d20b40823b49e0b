"""Every alert fires: by Prometheus' own tests of rules, and before a real service in that state."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml

from tests.gateway.conftest import (
    Service,
    StartService,
    change_archive,
    start_service,
    wait_until,
)
from tests.gateway.proxy.test_poison import ENTRY, FAULT
from tests.operations.prometheus import ROOT, RULES, Prometheus, tool, watching

__all__ = ["start_service"]
RUNBOOKS = ROOT / "docs" / "runbooks"
ALERTS = [
    rule
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
NAMES = [rule["alert"] for rule in ALERTS]
METRIC = re.compile(r"\b(?:gpt2_[a-z0-9_]+|vllm:[a-z0-9_]+)")
# More than a service of 32 slots takes, in requests of eight.
CROWD = 8
LONG = {"prompt": "Long ago", "max_tokens": 600, "n": 8, "ignore_eos": True}
SHORT = LONG | {"max_tokens": 15}


class Watched:
    """Two services and the Prometheus that watches them."""

    def __init__(self, crowded: Service, fragile: Service, prometheus: Prometheus) -> None:
        self.crowded = crowded
        self.fragile = fragile
        self.prometheus = prometheus

    def expect(self, *alerts: str) -> None:
        """Wait until alerts have fired."""
        for alert in alerts:
            wait_until(lambda alert=alert: self.prometheus.has_fired(alert))  # type: ignore[misc]


@pytest.fixture(scope="module")
def watched(
    start_service: StartService, model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    tool("prometheus")
    store = tmp_path_factory.mktemp("store")
    sound = model_store / "gpt2.mar"
    change_archive(sound, store / "gpt2.mar", "handler/service.py", ENTRY, FAULT + ENTRY)
    crowded = start_service(MAX_WAITING="8")
    fragile = start_service(store=store, SKIP_SELF_TEST="1", MAX_RESTARTS="50", STALL_SECONDS="5")
    instances = {
        name: service.url.removeprefix("http://")
        for name, service in (("crowded", crowded), ("fragile", fragile))
    }
    with watching(tmp_path_factory.mktemp("prometheus"), instances) as prometheus:
        yield Watched(crowded, fragile, prometheus)


def test_prometheus_own_tests_of_the_rules_pass() -> None:
    done = subprocess.run(
        [tool("promtool"), "test", "rules", "alerts_test.yaml"],
        cwd=RULES.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_own_tests_name_every_alert() -> None:
    tests = yaml.safe_load((RULES.parent / "alerts_test.yaml").read_text(encoding="utf-8"))
    cases = [case for test in tests["tests"] for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == set(NAMES)
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == set(NAMES)


@pytest.mark.parametrize("rule", ALERTS, ids=NAMES)
def test_an_alert_has_a_page_that_says_what_to_do(rule: dict[str, Any]) -> None:
    page = RUNBOOKS / f"{rule['alert']}.md"
    assert rule["annotations"]["runbook"] == str(page.relative_to(ROOT))
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ .+", text, re.M)
    assert headings == [
        f"# {rule['alert']}",
        "## What it means",
        "## How to look",
        "## What to do",
    ]


def test_rules_and_pages_name_metrics_that_there_are(watched: Watched) -> None:
    assert watched.crowded.complete(max_tokens=2).status_code == 200
    text = watched.crowded.get("/metrics").text
    pages = [RULES, *RUNBOOKS.glob("*.md")]
    asked = {name for page in pages for name in METRIC.findall(page.read_text(encoding="utf-8"))}
    known = set(re.findall(r"^# TYPE (\S+) ", text, re.M))
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert len(asked) > 10 and bare <= known | {"vllm:kv_cache_usage_perc"}, bare - known


def test_nothing_fires_where_nothing_is_wrong(watched: Watched) -> None:
    scrapes = 'min(count_over_time(up{job="gpt2"}[1h])) > 10'
    wait_until(lambda: bool(watched.prometheus.query(scrapes)))
    assert watched.prometheus.query('up{job="gpt2"} == 1')
    assert [name for name in NAMES if watched.prometheus.has_fired(name)] == []


def test_a_request_that_crashes_workers_is_told(watched: Watched) -> None:
    assert watched.fragile.complete(user="poison").status_code == 422
    watched.expect("GPT2PoisonRequest", "GPT2WorkersLost")


def test_a_request_that_stands_still_is_told(watched: Watched) -> None:
    service = watched.fragile
    wait_until(lambda: service.get("/health/ready").status_code == 200)
    with ExitStack() as stack:
        stack.enter_context(frozen(service))
        assert service.complete(max_tokens=400).status_code == 503
    watched.expect("GPT2RequestsFailed")


def test_a_torchserve_that_ends_over_and_over_is_told(watched: Watched) -> None:
    service = watched.fragile
    for _ in range(2):
        wait_until(lambda: service.get("/health/ready").status_code == 200)
        next(each for each in service.descendants() if "java" in each.name()).kill()
        wait_until(lambda: service.get("/health/ready").status_code == 503)
    watched.expect("GPT2TorchServeRestarts")


def test_a_service_that_takes_nothing_is_told_and_so_is_one_that_is_gone(watched: Watched) -> None:
    service = watched.fragile
    wait_until(lambda: service.get("/health/ready").status_code == 200)
    assert service.manage("PUT", "/models/gpt2?min_worker=0&synchronous=true").status_code == 200
    with crowd(lambda: service.complete(max_tokens=1), pause=0.2, size=1):
        watched.expect("GPT2NotReady", "GPT2Errors")
    service.stop()
    watched.expect("GPT2Down")


def test_too_many_requests_are_told(watched: Watched) -> None:
    with crowd(lambda: watched.crowded.complete(**LONG), pause=0.05):
        watched.expect("GPT2Waiting", "GPT2Refusals", "GPT2CacheFull")


def test_a_starved_processor_is_told(watched: Watched) -> None:
    with slow(watched.crowded), crowd(lambda: watched.crowded.complete(**SHORT), pause=0.05):
        watched.expect("GPT2SlowFirstToken", "GPT2SlowTokens")


def test_exemplars_lead_from_a_bucket_to_a_trace(watched: Watched) -> None:
    trace = "5e" * 16
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    body = {"prompt": "A hare", "max_tokens": 3, "stream": True}
    assert watched.crowded.post("/v1/completions", json=body, headers=headers).content
    for name in ("time_to_first_token_seconds", "e2e_request_latency_seconds"):
        wait_until(
            lambda name=name: (
                trace  # type: ignore[misc]
                in [
                    exemplar["labels"]["trace_id"]
                    for exemplar in watched.prometheus.exemplars(f"vllm:{name}_bucket")
                ]
            )
        )


@contextmanager
def crowd(ask: Callable[[], object], *, pause: float, size: int = CROWD) -> Iterator[None]:
    """Have callers ask again and again, whatever they are answered."""
    is_over = threading.Event()

    def caller() -> None:
        while not is_over.wait(pause):
            with suppress(requests.RequestException):
                ask()

    threads = [threading.Thread(target=caller) for _ in range(size)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


@contextmanager
def frozen(service: Service) -> Iterator[None]:
    """Have every worker stand still from its first moment on."""
    is_over = threading.Event()

    def freeze() -> None:
        while not is_over.wait(0.05):
            for worker in service.workers():
                with suppress(psutil.Error):
                    worker.send_signal(signal.SIGSTOP)

    thread = threading.Thread(target=freeze)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        for worker in service.workers():
            with suppress(psutil.Error):
                worker.send_signal(signal.SIGCONT)


@contextmanager
def slow(service: Service) -> Iterator[None]:
    """Give the worker a processor for a moment now and then."""
    is_over = threading.Event()
    [worker] = service.workers()

    def starve() -> None:
        while not is_over.is_set():
            worker.send_signal(signal.SIGSTOP)
            time.sleep(0.3)
            worker.send_signal(signal.SIGCONT)
            time.sleep(0.005)

    thread = threading.Thread(target=starve)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
