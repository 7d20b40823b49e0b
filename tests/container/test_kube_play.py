"""The plain Deployment of deploy/kubernetes as a pod of podman's, on this machine's own network."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.conftest import free_ports
from tests.container.conftest import Contract
from tests.container.container import READY_SECONDS, podman
from tests.operations.kubernetes import made_by

OVERLAY = "deploy/kubernetes/overlays/plain"
POD, CONTAINER = "gpt2-pod-0", "gpt2-pod-0-gpt2"
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
# As tests/container/container.py sets them: a pod has no option for that.
LIMITS = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'


class Pod:
    """A pod that was played, and what its YAML says of it."""

    def __init__(self, port: int, specification: dict[str, Any]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.specification = specification

    def status(self, probe: str) -> int:
        """What a probe of its YAML is answered; 0 for nothing."""
        path = self.specification[probe]["httpGet"]["path"]
        with contextlib.suppress(requests.RequestException):
            return requests.get(self.url + path, timeout=10).status_code
        return 0


@pytest.fixture(scope="module")
def pod(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    documents = made_by("kubectl", "kustomize", OVERLAY)
    [deployment] = [each for each in documents if each["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    container |= {"image": image, "imagePullPolicy": "Never"}
    # podman asks probes with curl from within, which the image lacks: the tests ask them.
    specification = {name: container.pop(name) for name in PROBES}
    del container["ports"]  # podman maps them, which there is no way to on this network
    [port] = free_ports(1)
    next(each for each in container["env"] if each["name"] == "PORT")["value"] = str(port)
    home: Path = tmp_path_factory.mktemp("pod")
    (home / "deployment.yaml").write_text(yaml.safe_dump(deployment))
    (home / "containers.conf").write_text(LIMITS)
    play = ["podman", "--runtime", "runc", "kube", "play", "--network", "host"]
    try:
        subprocess.run(
            [*play, str(home / "deployment.yaml")],
            env=os.environ | {"CONTAINERS_CONF": str(home / "containers.conf")},
            check=True,
        )
        yield Pod(port, specification)
    finally:
        podman("pod", "rm", "--force", "--time", "0", POD, check=False)


def test_the_deployment_runs_as_a_pod(pod: Pod, contract: Contract) -> None:
    probe = pod.specification["startupProbe"]
    began = time.monotonic()
    while pod.status("startupProbe") != 200:
        assert time.monotonic() < began + READY_SECONDS, podman("logs", CONTAINER, check=False)
        time.sleep(probe["periodSeconds"])
    assert (pod.status("readinessProbe"), pod.status("livenessProbe")) == (200, 200)
    reply = requests.post(f"{pod.url}/generate", json={"input": "Once upon a time"}, timeout=60)
    assert reply.status_code == 200 and reply.json()["body"]["generated"]
    about = yaml.safe_load(podman("inspect", CONTAINER))[0]
    assert about["HostConfig"]["ReadonlyRootfs"] is True
    assert about["Config"]["User"].split(":")[0] == "10001"
    assert about["HostConfig"]["Memory"] == 2 << 30
    contract.point(
        "the plain Deployment runs as a pod (podman kube play)",
        f"ready after {time.monotonic() - began:.1f} s, a text, its probes answered",
    )


def test_the_pod_ends_within_its_grace(pod: Pod, contract: Contract) -> None:
    began = time.monotonic()
    podman("pod", "stop", "--time", "60", POD)
    about = yaml.safe_load(podman("inspect", CONTAINER))[0]
    seconds = time.monotonic() - began
    contract.point("the pod ends by itself when it is told to", f"{seconds:.1f} s, status 0")
    assert about["State"]["ExitCode"] == 0 and seconds < 60
