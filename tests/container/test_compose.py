"""deploy/compose, brought up by podman-compose: a network of its own, two of the service.

nginx, Prometheus and Redis are Debian's, in images that are made here (compose/Containerfile), the
collector is rotel. Not run: Grafana, OpenTelemetry's own collector, the images that registries
have, and Docker. podman before 4.6 does not wait for `service_healthy`, and has systemd ask for
health: the check that compose.yaml names is run from outside instead.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from commands.groups import Groups
from commands.image import DEBIAN_BASE
from tests.conftest import ROOT, free_ports
from tests.container.conftest import Contract
from tests.container.running import podman
from tests.container.test_kube_play import LIMITS
from tests.operations.prometheus import Prometheus
from tests.patience import PATIENCE, wait_until

FILES = ROOT / "tests" / "container" / "compose"
DOCS = (ROOT / "docs" / "compose.md").read_text(encoding="utf-8")
MADE = ("nginx", "redis", "prometheus", "collector", "gpt2")
INSTANCES = 2
PER_MINUTE = 10
KEYS = {name: f"{name}-key-0123456789" for name in ("alice", "bob")}
TRACE = "c0" * 16


def documented() -> tuple[list[str], str]:
    """What the page says to type: commands before `docker compose up`, and the one after it."""
    found = re.search(r"^```\n(cd deploy/compose\n.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
    assert found
    lines = [re.sub(r"\s+# .*", "", line) for line in found[1].splitlines()]
    commands = "\n".join(lines).replace("\\\n", " ").splitlines()
    up = next(at for at, line in enumerate(commands) if line.startswith("docker compose up"))
    assert commands[0] == "cd deploy/compose" and len(commands) == up + 2
    return commands[1:up], commands[up + 1]


class Project:
    """What is up: two instances, and what belongs around them."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.name = f"gpt2-test-{uuid.uuid4().hex[:8]}"
        self.port, watched = free_ports(2)
        self.url = f"https://localhost:{self.port}"
        self.prometheus = Prometheus(f"http://127.0.0.1:{watched}")
        (home / "containers.conf").write_text(f'{LIMITS}[engine]\nruntime = "runc"\n')
        self._environment = os.environ | {
            "CONTAINERS_CONF": str(home / "containers.conf"),
            "CERTIFICATES": str(home / "certificates"),
            "KEYS": str(home / "keys"),
            "API_KEYS_FILE": "/keys/api-keys",
            "REQUESTS_PER_MINUTE": str(PER_MINUTE),
            "HTTPS_PORT": str(self.port),
            "PROMETHEUS_PORT": str(watched),
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            **{f"{each.upper()}_IMAGE": image_of(each) for each in MADE},
        }

    def compose(self, *words: str) -> None:
        """Run podman-compose with the project's file and what differs here."""
        command = [sys.executable, "-m", "podman_compose", "--project-name", self.name]
        for path in (ROOT / "deploy" / "compose" / "compose.yaml", FILES / "override.yaml"):
            command += ["--file", str(path)]
        command += ["--profile", "watch", "--profile", "trace", *words]
        done = subprocess.run(
            command,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout

    def container(self, service: str, number: int = 1) -> str:
        return f"{self.name}_{service}_{number}"

    def instances(self) -> list[str]:
        return [self.container("gpt2", number + 1) for number in range(INSTANCES)]

    def log(self, container: str) -> str:
        done = subprocess.run(
            ["podman", "logs", container],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout

    def request(self, method: str, path: str, key: str = "", **options: Any) -> requests.Response:
        """Ask through nginx, whose certificate is looked at."""
        headers = options.pop("headers", {})
        if key:
            headers = headers | {"authorization": f"Bearer {KEYS[key]}"}
        return requests.request(
            method,
            self.url + path,
            headers=headers,
            verify=str(self.home / "certificates" / "tls.crt"),
            timeout=PATIENCE,
            **options,
        )


def image_of(service: str) -> str:
    return f"localhost/gpt2-test-{service}"


@pytest.fixture(scope="module")
def images(image: str) -> None:
    """Make what compose.yaml fetches elsewhere."""
    build = ["buildah", "build", "--isolation", "chroot", "--format", "docker", "--layers"]
    build += ["--file", str(FILES / "Containerfile"), *os.environ["GPT2_BUILD_NETWORK"].split("\n")]
    values = {"BASE": DEBIAN_BASE, "SERVICE": image, "ROTEL": Groups(ROOT).pins["rotel"]}
    for name, value in values.items():
        build += ["--build-arg", f"{name}={value}"]
    for service in MADE:
        words = [*build, "--target", service, "--tag", image_of(service), str(ROOT)]
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:]


@pytest.fixture(scope="module")
def project(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    home = tmp_path_factory.mktemp("compose")
    made = Project(home)
    for command in documented()[0]:
        subprocess.run(command, shell=True, cwd=home, check=True, capture_output=True)
    keys = "".join(f"{name}:{key}\n" for name, key in KEYS.items())
    (home / "keys" / "api-keys").write_text(keys)
    wanted = [service for service in MADE if service != "gpt2"]
    try:
        made.compose("up", "--detach", "--scale", f"gpt2={INSTANCES}", "gpt2", *wanted)
        for name in made.instances():
            wait_until(lambda name=name: is_healthy(name))  # type: ignore[misc]
        yield made
    finally:
        made.compose("down", "--volumes", "--remove-orphans")


def is_healthy(container: str) -> bool:
    """Run the check that compose.yaml names."""
    done = subprocess.run(
        ["podman", "--runtime", "runc", "healthcheck", "run", container],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def test_the_documented_command_is_answered_through_tls(
    project: Project, contract: Contract
) -> None:
    command = documented()[1].replace(":8443/", f":{project.port}/")
    words = [*shlex.split(command), "-sS", "-H", f"Authorization: Bearer {KEYS['alice']}"]
    done = subprocess.run(words, cwd=project.home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["body"]["generated"]
    page = project.request("GET", "/")
    assert page.status_code == 200 and "<title>" in page.text
    assert page.headers["strict-transport-security"]
    assert project.request("POST", "/generate", json={"input": "A"}).status_code == 401
    assert project.request("GET", "/metrics").status_code == 404
    contract.point(
        "Compose comes up (podman-compose): TLS, the page, a text, keys",
        f"{len(MADE) + INSTANCES - 1} containers, all as compose.yaml has them but Grafana",
    )


def test_instances_count_in_one_redis(project: Project, contract: Contract) -> None:
    body = {"prompt": "A", "max_tokens": 1}
    statuses = Counter(
        project.request("POST", "/v1/completions", "bob", json=body).status_code
        for _ in range(2 * PER_MINUTE)
    )
    served = [project.log(name).count("/v1/completions 200") for name in project.instances()]
    counted = int(podman("exec", project.container("redis"), "redis-cli", "dbsize"))
    contract.point(
        f"Compose: {PER_MINUTE} requests a minute hold over two instances",
        f"{statuses[200]} served ({served[0]} and {served[1]}), {statuses[429]} refused",
    )
    assert all(served) and sum(served) == statuses[200], "one instance alone proves nothing"
    assert PER_MINUTE <= statuses[200] <= PER_MINUTE * 1.1
    assert statuses[200] + statuses[429] == 2 * PER_MINUTE
    assert counted >= 1
    # Another's requests are counted by themselves.
    assert project.request("POST", "/generate", "alice", json={"input": "A"}).status_code == 200


def test_prometheus_watches_the_service(project: Project, contract: Contract) -> None:
    prometheus = project.prometheus
    wait_until(prometheus.is_ready)
    wait_until(lambda: [each["value"][1] for each in prometheus.query("up")] == ["1"])
    dashboard = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text("utf-8"))
    queries = {
        target["expr"].replace("$__rate_interval", "1m")
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    shown: set[str] = set()
    deadline = time.monotonic() + 12  # two scrapes and what comes late
    while time.monotonic() < deadline and len(shown) < len(queries):
        shown |= {each for each in queries - shown if prometheus.query(each)}
        time.sleep(0.5)
    rules = requests.get(f"{prometheus.url}/api/v1/rules", timeout=PATIENCE).json()
    [alerts] = rules["data"]["groups"]
    contract.point(
        "Compose: Prometheus watches the service, and has the alerts",
        f"{len(shown)} of {len(queries)} queries of the dashboard find something, "
        f"{len(alerts['rules'])} alerts",
    )
    assert len(shown) > len(queries) / 2
    assert len(alerts["rules"]) >= 12


def test_a_trace_reaches_the_collector(project: Project, contract: Contract) -> None:
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    body = {"input": "Once upon a time"}
    reply = project.request("POST", "/generate", "alice", json=body, headers=headers)
    assert reply.status_code == 200
    collector = project.container("collector")
    with contextlib.suppress(AssertionError):
        wait_until(lambda: project.log(collector).count(TRACE) > 1)
    spans = project.log(collector).count(TRACE)
    contract.point("Compose: a trace reaches the collector", f"{spans} spans of the caller's trace")
    assert spans > 1, project.log(collector)[-2000:]


def test_all_end_in_peace(project: Project, contract: Contract) -> None:
    began = time.monotonic()
    project.compose("stop")
    seconds = time.monotonic() - began
    status = {
        name: int(podman("inspect", "--format", "{{.State.ExitCode}}", name))
        for name in (*project.instances(), project.container("nginx"), project.container("redis"))
    }
    contract.point("Compose: what is told to stop ends by itself", f"{seconds:.1f} s, status 0")
    assert set(status.values()) == {0}, status
