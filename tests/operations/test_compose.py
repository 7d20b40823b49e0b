"""What Compose starts, as far as it runs without containers: nginx, Prometheus, the dashboard."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from gateway.settings import Settings
from tests.conftest import free_ports
from tests.gateway.conftest import Service, StartService, start_service, wait_until
from tests.operations.prometheus import ROOT, Prometheus, running, tool
from tests.patience import PATIENCE

__all__ = ["start_service"]
HERE = ROOT / "deploy" / "compose"
COMPOSE = yaml.safe_load((HERE / "compose.yaml").read_text(encoding="utf-8"))
DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
QUERIES = [
    (panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]
]
# What whoever starts it brings.
BROUGHT = ("certificates", "keys")
VARIABLE = re.compile(r"\$\{\w+:-([^}]*)\}")


@pytest.fixture(scope="module")
def service(start_service: StartService) -> Service:
    return start_service(TRUSTED_PROXY_HOPS="1")


@pytest.fixture(scope="module")
def nginx(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real one with deploy/compose/nginx.conf; its address."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("nginx is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    names = ["-keyout", folder / "tls.key", "-out", folder / "tls.crt", "-subj", "/CN=localhost"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names],
        check=True,
        capture_output=True,
    )
    [port] = free_ports(1)
    text = (HERE / "nginx.conf").read_text(encoding="utf-8")
    for before, after in (
        ("server gpt2:8080", f"server 127.0.0.1:{service.port}"),
        ("listen 8443", f"listen 127.0.0.1:{port}"),
        (" /tmp/", f" {folder}/"),
        (" /certificates/", f" {folder}/"),
    ):
        assert before in text
        text = text.replace(before, after)
    (folder / "nginx.conf").write_text(text)
    log = folder / "error.log"
    process = subprocess.Popen(
        [program, "-e", log, "-c", folder / "nginx.conf", "-g", "daemon off;"]
    )
    url = f"https://127.0.0.1:{port}"
    try:
        wait_until(lambda: process.poll() is not None or _answers(url))
        assert process.poll() is None, log.read_text()
        yield url
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def prometheus(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """The real one with deploy/compose/prometheus.yaml, which asks more often."""
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((HERE / "prometheus.yaml").read_text(encoding="utf-8"))
    config["global"] = dict.fromkeys(config["global"], "1s")
    [job] = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["gpt2:8080"]}]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{service.port}"]}]
    shutil.copy(ROOT / "deploy" / "prometheus" / "alerts.yaml", folder)
    with running(folder, config) as made:
        yield made


def _answers(url: str) -> bool:
    with contextlib.suppress(requests.ConnectionError):
        return _get(f"{url}/health/live").status_code == 200
    return False


def _get(url: str, **options: Any) -> requests.Response:
    return requests.get(url, verify=_certificate(), timeout=PATIENCE, **options)


def _certificate() -> bool:
    return False  # signed by itself, and for another name


pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")


def test_every_panel_shows_something(service: Service, prometheus: Prometheus) -> None:
    assert len(QUERIES) > 20

    def empty() -> list[str]:
        assert service.complete(max_tokens=5, stream=True).status_code == 200
        return [
            f"{title}: {expression}"
            for title, expression in QUERIES
            if not prometheus.query(expression.replace("$__rate_interval", "20s"))
        ]

    with contextlib.suppress(AssertionError):
        wait_until(lambda: not empty())
    assert empty() == []


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    for name in ("compose/prometheus.yaml", "prometheus/alerts.yaml"):
        shutil.copy(ROOT / "deploy" / name, tmp_path)
    done = subprocess.run(
        [tool("promtool"), "check", "config", tmp_path / "prometheus.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_stream_comes_through_nginx_as_it_is_written(service: Service, nginx: str) -> None:
    body = {"prompt": "Long ago", "max_tokens": 400, "ignore_eos": True, "stream": True}
    with requests.post(
        f"{nginx}/v1/completions", json=body, stream=True, verify=False, timeout=PATIENCE
    ) as reply:
        assert reply.status_code == 200
        lines = reply.iter_lines()
        next(lines)
        # While most of it is unwritten, the first event is here.
        assert service.metric("vllm:num_requests_running") == 1
        assert b"data: [DONE]" in list(lines)


def test_a_client_that_leaves_nginx_frees_its_slot(service: Service, nginx: str) -> None:
    body = {"prompt": "Long ago", "max_tokens": 490, "n": 8, "ignore_eos": True, "stream": True}
    with requests.post(
        f"{nginx}/v1/completions", json=body, stream=True, verify=False, timeout=PATIENCE
    ) as reply:
        next(reply.iter_lines())
    wait_until(lambda: service.metric("vllm:num_requests_running") == 0)
    assert service.metric("gpt2_request_failure_total") >= 1


def test_nginx_says_who_asks_and_keeps_the_metrics(service: Service, nginx: str) -> None:
    assert _get(f"{nginx}/metrics").status_code == 404
    forged = {"x-forwarded-for": "203.0.113.7", "x-request-id": f"nginx-{time.time_ns()}"}
    assert _get(f"{nginx}/v1/models", headers=forged).status_code == 200
    wait_until(
        lambda: any(r.get("request_id") == forged["x-request-id"] for r in service.records())
    )
    [line] = [r for r in service.records() if r.get("request_id") == forged["x-request-id"]]
    assert line["httpRequest"]["remoteIp"] == "127.0.0.1"


def test_files_that_compose_mounts_are_there() -> None:
    mounted = [
        VARIABLE.sub(r"\1", volume).partition(":")[0]
        for each in COMPOSE["services"].values()
        for volume in each.get("volumes", [])
    ]
    paths = [HERE / each for each in mounted if each.startswith(".")]
    assert len(paths) > 6
    assert [path for path in paths if path.name not in BROUGHT and not path.is_file()] == []


def test_settings_that_compose_gives_are_settings() -> None:
    known = {spec.name.upper() for spec in fields(Settings)}
    assert set(COMPOSE["services"]["gpt2"]["environment"]) <= known


def test_only_nginx_is_open_to_others() -> None:
    for name, each in COMPOSE["services"].items():
        for port in each.get("ports", []):
            assert name == "nginx" or port.startswith("127.0.0.1:"), name
