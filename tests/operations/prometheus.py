"""A real Prometheus that watches services, with alerts in a time that a test can wait for."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.conftest import free_ports
from tests.patience import PATIENCE, wait_until

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yaml"
INTERVAL = "1s"
# What a minute of the rules is here: a window of five holds ten scrapes.
SECONDS_A_MINUTE = 2
DURATION = re.compile(r"(?<=\[)(\d+)([mh])(?=\])|(?<=for: )(\d+)([mh])$", re.MULTILINE)


def tool(name: str) -> str:
    """The path of one of Debian's `prometheus` package's programs."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (apt-get install prometheus)")
    return found


def hastened(rules: str) -> str:
    """Rules whose minutes are seconds; nothing else of them changes."""

    def shorter(found: re.Match[str]) -> str:
        number, unit = (found[1] or found[3]), (found[2] or found[4])
        return f"{int(number) * (60 if unit == 'h' else 1) * SECONDS_A_MINUTE}s"

    return DURATION.sub(shorter, rules)


class Prometheus:
    """Its address, and what it knows."""

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression now."""
        reply = requests.get(
            f"{self.url}/api/v1/query", params={"query": expression}, timeout=PATIENCE
        )
        assert reply.status_code == 200, reply.text
        result: list[dict[str, Any]] = reply.json()["data"]["result"]
        return result

    def has_fired(self, alert: str) -> bool:
        """Whether an alert fires, or did."""
        firing = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
        return bool(self.query(f"max_over_time({firing}[1h])"))

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        """The exemplars of an expression's series."""
        params = {"query": expression, "start": "0", "end": "4000000000"}
        reply = requests.get(f"{self.url}/api/v1/query_exemplars", params=params, timeout=PATIENCE)
        found: list[dict[str, Any]] = reply.json()["data"]
        return [exemplar for series in found for exemplar in series["exemplars"]]

    def is_ready(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/-/ready", timeout=PATIENCE).status_code == 200
        return False


@contextlib.contextmanager
def watching(folder: Path, instances: Mapping[str, str]) -> Iterator[Prometheus]:
    """Run one that scrapes services each second, and has the alerts.

    Args:
        folder: An empty one.
        instances: Their addresses (host:port) by the names that they are to have.
    """
    (folder / "alerts.yaml").write_text(hastened(RULES.read_text(encoding="utf-8")))
    targets = [
        {"targets": [address], "labels": {"instance": name}} for name, address in instances.items()
    ]
    config = {
        "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": ["alerts.yaml"],
        "scrape_configs": [{"job_name": "gpt2", "static_configs": targets}],
    }
    with running(folder, config) as prometheus:
        yield prometheus


@contextlib.contextmanager
def running(folder: Path, config: dict[str, Any]) -> Iterator[Prometheus]:
    """Run one with a configuration of its own; what it names lies in the folder."""
    program = tool("prometheus")
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    [port] = free_ports(1)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
            ],
            stdout=log,
            stderr=log,
        )
        made = Prometheus(f"http://127.0.0.1:{port}")
        try:
            wait_until(lambda: process.poll() is not None or made.is_ready())
            assert process.poll() is None, (folder / "log").read_text()[-2000:]
            yield made
        finally:
            process.terminate()
            process.wait(PATIENCE)
