"""What the outside sees: one port, keys from mounted files, logs for Cloud Logging."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.container.conftest import Contract, StartContainer
from tests.container.container import Clients, Container
from tests.container.running import Running

LISTENING = "0A"
SEVERITIES = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}


def listening_ports(container: Running) -> set[int]:
    """Every TCP port that something in the container listens on."""
    ports = set()
    for table in ("tcp", "tcp6"):
        lines = Path(f"/proc/{container.pid}/net/{table}").read_text(encoding="ascii").splitlines()
        for fields in (line.split() for line in lines[1:]):
            if fields[3] == LISTENING:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def is_open(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def test_no_port_of_torchserve_is_reachable(container: Container, contract: Contract) -> None:
    ports = listening_ports(container)
    reached = {port for port in ports if is_open(container.address, port)}
    contract.point(
        "no TorchServe port reachable from outside",
        f"of {len(ports)} ports in use, {sorted(reached)} is reachable",
    )
    assert len(ports) >= 5  # three of REST and two of gRPC are there, on the loopback interface
    assert reached == {container.port}


def test_variables_for_other_programs_change_nothing(
    start: StartContainer, contract: Contract, tmp_path: Path
) -> None:
    stranger = tmp_path / "config.properties"
    stranger.write_text("inference_address=http://0.0.0.0:8085\n")
    for path in (tmp_path, stranger):
        os.chmod(path, 0o755)
    variables = {
        "TS_CONFIG_FILE": "/strange/config.properties",  # KServe
        "METRICS_PORT": "tcp://10.96.0.5:9090",  # Kubernetes
        "JAVA_TOOL_OPTIONS": "-XX:+UseG1GC",
        "PYTHONHOME": "/nowhere",
    }
    quoted = {"N_TOKENS": '"7"'}  # as --env-file hands it on
    container = start("--volume", f"{tmp_path}:/strange:ro", **variables, **quoted)
    container.wait_ready()
    address = container.address
    reached = {port for port in listening_ports(container) if is_open(address, port)}
    told = [name for name in variables if any(name in line for line in container.log)]
    contract.point(
        "variables for other programs change nothing and are told",
        f"{len(told)} of {len(variables)}",
    )
    assert reached == {container.port}
    assert told == list(variables)


def test_it_runs_as_sagemaker_and_vertex_ai_start_it(
    start: StartContainer, contract: Contract
) -> None:
    body = {"instances": ["Once upon a time"], "parameters": {"max_tokens": 4, "seed": 1}}
    sagemaker = start(arguments=["serve"])
    sagemaker.wait_ready()
    found = [sagemaker.get("/ping").status_code]
    text = requests.post(sagemaker.url + "/invocations", json=body, timeout=60).json()
    route = "/v1/endpoints/1/deployedModels/2"
    names = {"HTTP_PORT": "8085", "HEALTH_ROUTE": route, "PREDICT_ROUTE": f"{route}:predict"}
    vertex = start(port=8085, **{f"AIP_{name}": value for name, value in names.items()})
    vertex.wait_ready()
    found.append(vertex.get(route).status_code)
    other = requests.post(f"{vertex.url}{route}:predict", json=body, timeout=60).json()
    contract.point("runs as SageMaker and Vertex AI start it", f"statuses {found}")
    assert found == [200, 200]
    assert text == other and len(text["predictions"]) == 1


def test_keys_come_from_mounted_files(
    start: StartContainer, contract: Contract, tmp_path: Path
) -> None:
    (tmp_path / "api").write_text("alice:alice-key-0123456789\n")
    (tmp_path / "management").write_text("management-key-0123456789\n")
    for path in (tmp_path, *tmp_path.iterdir()):
        os.chmod(path, 0o755)
    container = start(
        *("--volume", f"{tmp_path}:/secrets:ro"),
        API_KEYS_FILE="/secrets/api",
        MANAGEMENT_KEY_FILE="/secrets/management",
    )
    container.wait_ready()
    bearer = {"authorization": "Bearer alice-key-0123456789"}
    manager = {"authorization": "Bearer management-key-0123456789"}
    statuses = [
        container.complete().status_code,
        container.complete(headers={"authorization": "Bearer wrong"}).status_code,
        container.complete(headers=bearer).status_code,
        container.get("/models/gpt2", headers=bearer).status_code,
        container.get("/models/gpt2", headers=manager).status_code,
    ]
    seen = [
        name
        for process in (container.worker, container.torchserve)
        for name, value in process.environ().items()
        if value and ("API_KEYS" in name or "MANAGEMENT_KEY" in name)
    ]
    contract.point("keys from mounted files", "statuses " + ", ".join(map(str, statuses)))
    assert statuses[:3] == [401, 401, 200]
    assert statuses[3] in (401, 403) and statuses[4] == 200
    assert seen == []


def test_every_line_of_the_log_is_an_entry_of_cloud_logging(
    start: StartContainer, contract: Contract
) -> None:
    container = start(K_SERVICE="gpt2", GOOGLE_CLOUD_PROJECT="project")
    container.wait_ready()
    trace = "105445aa7843bc8bf206b12000100000"
    container.complete("a secret prompt", headers={"traceparent": f"00-{trace}-{'1' * 16}-01"})
    container.complete(max_tokens=-1)
    clients = Clients(container, 1, max_tokens=900, n=8)
    container.worker.kill()
    clients.wait()
    container.complete()
    entries = read_entries(container)
    requests = [entry for entry in entries if "httpRequest" in entry]
    assert requests[0]["httpRequest"]["status"] == 200
    assert requests[0]["logging.googleapis.com/trace"] == f"projects/project/traces/{trace}"
    assert not any("secret prompt" in line for line in container.log)
    contract.point("logs in Cloud Logging's shape", f"all {len(entries)} lines")


def test_a_model_that_can_not_be_loaded_ends_it_with_a_reason(
    start: StartContainer, contract: Contract, tmp_path: Path
) -> None:
    archive = tmp_path / "gpt2"
    (archive / "MAR-INF").mkdir(parents=True)
    (archive / "broken.py").write_text("import sys\nsys.exit('this \"model\" is broken')\n")
    about = {"modelName": "gpt2", "modelVersion": "1.0", "handler": "broken.py"}
    (archive / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"model": about}))
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.chmod(path, 0o755)
    container = start(
        *("--volume", f"{tmp_path}:/app/model_store:ro"),
        K_SERVICE="gpt2",
        START_SECONDS="5",
        MAX_RESTARTS="0",
    )
    status = container.wait_end(30)
    container.remove()
    said = [entry for entry in read_entries(container) if entry["logger"] == "torchserve"]
    contract.point("a broken model ends it with a reason", f"status {status}")
    assert status == 1
    assert any('this "model" is broken' in entry["message"] for entry in said), container.log


def read_entries(container: Container) -> list[dict[str, Any]]:
    """The log; every line of it has to be an entry."""
    lines = list(container.log)
    try:
        entries = [json.loads(line) for line in lines]
    except ValueError:
        pytest.fail("\n".join(["not all is JSON:", *lines]))
    assert all(entry["severity"] in SEVERITIES and entry["message"] for entry in entries)
    return entries
