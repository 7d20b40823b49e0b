"""The clients that TorchServe's users have, in an environment of their own."""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from bench.environments import HOME, Environment, SetUpError
from gateway.launch.launch import find_torchserve
from gateway.torchserve.process import TorchServe
from tests.patience import PATIENCE

CALLER = Path(__file__).with_name("grpc_calls.py")
CLIENTS = Environment(
    "torchserve-clients",
    (
        "torchserve-client==0.0.2",
        "grpcio==1.85.3",
        "grpcio-tools==1.85.1",
        "googleapis-common-protos==1.76.0",
        "protobuf==7.36.2",
        "requests==2.34.2",
    ),
)
Call = dict[str, Any]
Ask = Callable[[TorchServe, list[Call]], list[Call]]


@pytest.fixture(scope="session")
def clients_python() -> Path:
    """The interpreter of TorchServe's clients."""
    HOME.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(HOME / "torchserve-clients.lock"):
            return CLIENTS.ensure(print)
    except SetUpError as error:
        pytest.skip(f"TorchServe's clients cannot be installed: {error}")


@pytest.fixture(scope="session")
def ask_over_grpc(clients_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Makes gRPC calls, all at once, with stubs made of the `.proto` files TorchServe ships."""
    made = tmp_path_factory.mktemp("stubs")
    with zipfile.ZipFile(find_torchserve() / "frontend" / "model-server.jar") as jar:
        names = [name for name in jar.namelist() if name.endswith(".proto")]
        own = [name for name in names if name.startswith("proto/")]
        jar.extractall(made, own)
    common = next(clients_python.parent.parent.glob("lib/python*/site-packages"))
    command = [str(clients_python), "-m", "grpc_tools.protoc", f"-I{made / 'proto'}", f"-I{common}"]
    command += [f"--python_out={made}", f"--grpc_python_out={made}"]
    subprocess.run([*command, *(Path(name).name for name in own)], check=True, timeout=PATIENCE)

    def ask(server: TorchServe, calls: list[Call]) -> list[Call]:
        ports = (server.settings.ports.grpc_inference, server.settings.ports.grpc_management)
        done = subprocess.run(
            [str(clients_python), str(CALLER), str(made), *map(str, ports)],
            input="\n".join(map(json.dumps, calls)),
            capture_output=True,
            text=True,
            timeout=150,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return ask
