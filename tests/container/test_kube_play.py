"""The plain Deployment of deploy/kubernetes as a pod of podman's, on podman's network for pods.

Not run: its probes by a kubelet (podman has curl ask them within, which the image lacks, at
intervals of systemd's; the tests ask them), `preStop`, and the objects beside the Deployment.
"""

from __future__ import annotations

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
from tests.container.container import READY_SECONDS, Clients
from tests.container.running import Running, podman
from tests.container.test_ends import House, after_a_loss
from tests.container.test_outside import is_open, listening_ports
from tests.operations.kubernetes import made_by

OVERLAY = "deploy/kubernetes/overlays/plain"
POD = "gpt2-pod-0"
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
# As tests/container/container.py sets them: a pod has no option for that.
LIMITS = '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
ADDRESS = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"


class Pod(Running):
    """A pod that was played, and what its YAML says of it."""

    name = f"{POD}-gpt2"

    def __init__(self, port: int, published: int, specification: dict[str, Any]) -> None:
        infra = podman("pod", "inspect", "--format", "{{.InfraContainerID}}", POD)
        self.address = podman("inspect", "--format", ADDRESS, infra)
        self.port = port
        self.url = f"http://127.0.0.1:{published}"
        self.specification = specification

    def status(self, probe: str) -> int:
        """What a probe of its YAML is answered, on the port that it names; 0 for nothing."""
        path = self.specification[probe]["httpGet"]["path"]
        try:
            return requests.get(f"http://{self.address}:{self.port}{path}", timeout=10).status_code
        except requests.RequestException:
            return 0


@pytest.fixture(scope="module")
def pod(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    documents = made_by("kubectl", "kustomize", OVERLAY)
    [deployment] = [each for each in documents if each["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    container |= {"image": image, "imagePullPolicy": "Never"}
    specification = {name: container.pop(name) for name in PROBES}
    [port] = container["ports"]
    assert {each["httpGet"]["port"] for each in specification.values()} == {port["name"]}
    # Where a Service would be: this machine's port in front of the pod's.
    [port["hostPort"]] = free_ports(1)
    home: Path = tmp_path_factory.mktemp("pod")
    (home / "deployment.yaml").write_text(yaml.safe_dump(deployment))
    (home / "containers.conf").write_text(LIMITS)
    play = ["podman", "--runtime", "runc", "kube", "play"]
    try:
        subprocess.run(
            [*play, str(home / "deployment.yaml")],
            env=os.environ | {"CONTAINERS_CONF": str(home / "containers.conf")},
            check=True,
        )
        yield Pod(port["containerPort"], port["hostPort"], specification)
    finally:
        podman("pod", "rm", "--force", "--time", "0", POD, check=False)


def test_the_deployment_runs_as_a_pod(pod: Pod, contract: Contract) -> None:
    probe = pod.specification["startupProbe"]
    began = time.monotonic()
    while pod.status("startupProbe") != 200:
        assert time.monotonic() < began + READY_SECONDS, podman("logs", pod.name, check=False)
        time.sleep(probe["periodSeconds"])
    seconds = time.monotonic() - began
    assert (pod.status("readinessProbe"), pod.status("livenessProbe")) == (200, 200)
    reply = requests.post(f"{pod.url}/generate", json={"input": "Once upon a time"}, timeout=60)
    assert reply.status_code == 200 and reply.json()["body"]["generated"]
    assert "<title>" in pod.get("/").text
    about = yaml.safe_load(podman("inspect", pod.name))[0]
    assert about["HostConfig"]["ReadonlyRootfs"] is True
    assert about["Config"]["User"].split(":")[0] == "10001"
    assert about["HostConfig"]["Memory"] == 2 << 30
    assert set(pod.worker.uids()) == {10001}
    contract.point(
        "the plain Deployment runs as a pod (podman kube play)",
        f"ready after {seconds:.1f} s, page and text through its port, its probes answered",
    )


def test_the_pod_shows_one_port(pod: Pod, contract: Contract) -> None:
    ports = listening_ports(pod)
    reached = {port for port in ports if is_open(pod.address, port)}
    contract.point(
        "the pod: no TorchServe port reachable",
        f"of {len(ports)} ports in use, {sorted(reached)} is reachable",
    )
    assert len(ports) >= 5 and reached == {pod.port}


def test_the_pod_may_lose_its_worker(pod: Pod, contract: Contract) -> None:
    house = House(pod)
    pod.worker.kill()
    found = after_a_loss(house, time.monotonic())
    assert (pod.status("readinessProbe"), pod.status("livenessProbe")) == (200, 200)
    contract.point("the pod: SIGKILL of the worker", found)


def test_the_pod_ends_within_its_grace(pod: Pod, contract: Contract) -> None:
    streams = Clients(pod, 4, max_tokens=900)
    began = time.monotonic()
    # As a kubelet does, the container before the pod, whose network podman takes away with it.
    stop = subprocess.Popen(["podman", "stop", "--time", "60", pod.name])
    asked = set()
    while stop.poll() is None:
        asked.add((pod.status("readinessProbe"), pod.status("livenessProbe")))
        time.sleep(0.05)
    status = yaml.safe_load(podman("inspect", pod.name))[0]["State"]["ExitCode"]
    seconds = time.monotonic() - began
    ends = [end.finish for end in streams.wait()]
    contract.point(
        "the pod ends by itself when it is told to",
        f"{seconds:.1f} s, status {status}, not ready and alive meanwhile; "
        f"{ends.count('length')} of 4 streams finished",
    )
    assert ends == ["length"] * 4 and status == 0 and seconds < 60
    assert (503, 200) in asked
