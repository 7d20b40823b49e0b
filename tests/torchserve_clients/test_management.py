"""`torchserve-client`, as its users have it, manages the gateway as it manages TorchServe."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.conftest import Service

SCRIPT = """
import sys
from torchserve_client import TorchServeClientREST

port = int(sys.argv[1])
client = TorchServeClientREST("http://localhost", management_port=port, inference_port=port)
management, inference = client.management, client.inference
assert inference.health_check() == {"status": "Healthy"}
for described in (inference.api_description(), management.api_description()):
    assert described["openapi"].startswith("3.1")
made = management.register_model(
    "gpt2.mar", model_name="mine", initial_workers=0, batch_size=8, runtime="PYTHON"
)
assert "registered with 0 initial workers" in made["status"], made
assert "batch_size" in made["note"]
scaled = management.scale_workers("mine", min_worker=1, synchronous=True)
assert scaled["status"] == "Workers scaled to 1 for model: mine", scaled
(found,) = management.describe_model("mine", customized=True)
assert found["workers"][0]["status"] in ("READY", "STARTING"), found
(found,) = management.describe_model("gpt2", customized=True)
assert found["customizedMetadata"]["precision"], found
assert [each["modelName"] for each in management.list_models()["models"]] == ["gpt2", "mine"]
management.set_default_version("mine", "1.0")
assert management.unregister_model("mine")["status"] == 'Model "mine" unregistered'
"""


@pytest.fixture(scope="module")
def local(model_store: Path) -> Iterator[Service]:
    """A gateway that lets this machine manage: the client sends no keys."""
    service = Service(model_store, MANAGEMENT_KEY="", LOCAL_MANAGEMENT="true").wait_ready()
    yield service
    service.stop()


def test_it_registers_describes_and_asks(local: Service, clients_python: Path) -> None:
    done = subprocess.run(
        [str(clients_python), "-c", SCRIPT, str(local.port)],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
