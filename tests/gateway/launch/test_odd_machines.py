"""Machines with variables that are meant for other programs: the service is as it always is."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from gateway.settings import SettingsError, load
from gateway.settings.checks import NEVER_PASSED
from tests.conftest import free_ports
from tests.gateway.conftest import Service, StartService

Machines = dict[str, Service]

# By kind of machine. Each variable by itself would end a start, open a port or slow the worker.
MACHINES = {
    "TorchServe": {
        "TS_CONFIG_FILE": "{stranger}",
        "TS_BENCHMARK": "true",
        "TS_OPEN_INFERENCE_PROTOCOL": "true",
        "LOG_LOCATION": "/nowhere",
        "METRICS_LOCATION": "/nowhere",
    },
    "Java's tool options": {
        "JAVA_TOOL_OPTIONS": "-XX:+UseG1GC",
        "LOG4J_CONFIGURATION_FILE": "/nowhere/log4j2.xml",
    },
    "Java's launcher options": {"JDK_JAVA_OPTIONS": "-XX:+UseParallelGC -Xmx1m"},
    "Java's last options": {"_JAVA_OPTIONS": "-XX:+UseZGC"},
    "Python": {
        "PYTHONHOME": "/nowhere",
        "PYTHONPATH": "{hostile}",
        "PYTHONHASHSEED": "none",
        "PYTHONOPTIMIZE": "2",
        "PYTHONSAFEPATH": "1",
    },
    "conda": {"HOST": "x86_64-conda-linux-gnu"},
    "Kubernetes": {
        "METRICS_PORT": "tcp://10.96.0.5:9090",
        "INFERENCE_PORT": "tcp://10.96.0.6:8080",
        "HOST": "tcp://10.96.0.7:80",
    },
    "cluster of PyTorch": {
        "RANK": "3",
        "LOCAL_RANK": "3",
        "WORLD_SIZE": "8",
        "OMP_NUM_THREADS": "64",
        "MALLOC_PERTURB_": "7",
    },
}
OPTIONS = ("-E", "-B", "-u")  # as the image starts it
# What is set on many machines and says nothing that is worth a line.
QUIET = {"LC_ALL": "C", "CLASSPATH": "/nowhere.jar", "http_proxy": "http://127.0.0.1:9"}


@pytest.fixture(scope="module")
def machines(start_service: StartService, tmp_path_factory: pytest.TempPathFactory) -> Machines:
    """The services of all machines, started at once."""
    home = tmp_path_factory.mktemp("machines")
    (port, management, metrics) = free_ports(3)
    stranger = home / "config.properties"
    stranger.write_text(
        f"inference_address=http://0.0.0.0:{port}\nmanagement_address=http://0.0.0.0:{management}\n"
        f"metrics_address=http://0.0.0.0:{metrics}\ndisable_token_authorization=true\n"
    )
    hostile = home / "hostile"
    hostile.mkdir()
    (hostile / "numpy.py").write_text("raise SystemExit('a stranger')\n")
    places = {"stranger": stranger, "hostile": hostile}
    services = {}
    for machine, variables in MACHINES.items():
        given = {name: value.format_map(places) for name, value in variables.items()}
        services[machine] = start_service(
            ready=False, options=OPTIONS, MANAGEMENT_KEY="", **QUIET, **given
        )
    with ThreadPoolExecutor(len(services)) as pool:
        list(pool.map(Service.wait_ready, services.values()))
    return services


@pytest.mark.parametrize("machine", MACHINES)
def test_it_serves(machines: Machines, machine: str) -> None:
    assert machines[machine].complete(max_tokens=2).status_code == 200


@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_of_the_machine_reaches_java_or_a_worker(machines: Machines, machine: str) -> None:
    service = machines[machine]
    children = service.descendants()
    assert len(children) >= 2
    for child in children:
        found = child.environ()
        for name, value in (MACHINES[machine] | QUIET).items():
            assert found.get(name) != value and "hostile" not in found.get(name, ""), name


@pytest.mark.parametrize("machine", MACHINES)
def test_each_variable_is_named_once_with_what_does_the_same(
    machines: Machines, machine: str
) -> None:
    lines = [record["message"] for record in machines[machine].records()]
    for name in MACHINES[machine]:
        [line] = [line for line in lines if line.split(" ")[0].split("=")[0] == name]
        assert "is not passed on" in line or "is ignored" in line


@pytest.mark.parametrize("machine", MACHINES)
def test_torchserve_listens_on_loopback_alone(machines: Machines, machine: str) -> None:
    addresses = set()
    for child in machines[machine].descendants():
        with contextlib.suppress(psutil.NoSuchProcess):
            for connection in child.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN:
                    addresses.add(connection.laddr.ip.removeprefix("::ffff:"))
    assert addresses == {"127.0.0.1"}


def test_a_variable_passes_where_it_is_asked_for(start_service: StartService) -> None:
    service = start_service(
        PASS_VARIABLES="MINE, JAVA_TOOL_OPTIONS", MINE="1", JAVA_TOOL_OPTIONS="-Da=b"
    )
    for child in service.descendants():
        assert child.environ()["MINE"] == "1"
    assert not [line for line in service.log if "JAVA_TOOL_OPTIONS is not" in line]


@pytest.mark.parametrize("name", NEVER_PASSED)
def test_what_would_open_a_door_never_passes(name: str) -> None:
    with pytest.raises(SettingsError, match=f"PASS_VARIABLES must not name {name}"):
        load({"PASS_VARIABLES": f"MINE,{name}"})
