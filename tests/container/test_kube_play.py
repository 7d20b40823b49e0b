"""The plain Deployment of deploy/kubernetes as a pod of podman's."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.container.conftest import Contract
from tests.container.container import READY_SECONDS, podman
from tests.container.network import Network
from tests.operations.kubernetes import made_by

OVERLAY = "deploy/kubernetes/overlays/plain"
POD, CONTAINER = "gpt2-pod", "gpt2-pod-gpt2"
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


class Pod:
    """A pod that was played, and what its YAML says of it."""

    def __init__(self, address: str, specification: dict[str, Any]) -> None:
        self.url = f"http://{address}:8080"
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
    file: Path = tmp_path_factory.mktemp("pod") / "deployment.yaml"
    file.write_text(yaml.safe_dump(deployment))
    network = Network()
    try:
        podman("--runtime", "runc", "kube", "play", "--network", network.path, str(file))
        yield Pod(network.address, specification)
    finally:
        podman("pod", "rm", "--force", "--time", "0", POD, check=False)
        network.close()


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
