"""What is in the image, and what is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.container.conftest import Contract, StartContainer
from tests.container.container import Container, podman

PRESENT = """
import importlib.util, shutil, sys
split = sys.argv.index("--")
tools, modules = ["python", *sys.argv[1:split]], ["gateway", *sys.argv[split + 1 :]]
print(*filter(shutil.which, tools), *filter(importlib.util.find_spec, modules))
"""
MOST_MEGABYTES = 1150  # on Debian's base; of it PyTorch 440, Java 100


@pytest.fixture(scope="module")
def facts(image: str) -> dict[str, object]:
    return json.loads(podman("image", "inspect", image))[0]


def test_it_says_what_it_is_and_how_it_is_run(facts: dict[str, object], contract: Contract) -> None:
    config = facts["Config"]
    assert isinstance(config, dict)
    assert config["Entrypoint"] == ["python", "-m", "gateway"]
    assert config["User"] == "10001:10001"
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    labels = [label for label in config["Labels"] if label.startswith("org.opencontainers.image.")]
    assert {"title", "description", "licenses", "version", "revision"} <= {
        label.rpartition(".")[2] for label in labels
    }
    contract.point("user, port, entrypoint (no shell), OCI labels", f"{len(labels)} labels")


def test_it_is_small(facts: dict[str, object], contract: Contract) -> None:
    size = int(str(facts["Size"])) / 1e6
    contract.point(f"at most {MOST_MEGABYTES} MB", f"{size:.0f} MB")
    assert size <= MOST_MEGABYTES


def test_it_has_no_compiler_no_pip_and_nothing_of_packaging(
    container: Container, contract: Contract
) -> None:
    tools = ("gcc", "cc", "g++", "ld", "make", "pip", "pip3", "git", "curl")
    modules = ("pip", "setuptools", "ensurepip", "transformers", "onnx", "model_archiver", "pytest")
    modules += ("training", "archive", "bench", "client")
    done = container.execute("python", "-c", PRESENT, *tools, "--", *modules)
    assert done.returncode == 0, done.stderr
    # What is there for certain shows that the question is answered at all.
    found = done.stdout.split()
    assert {"python", "gateway"} <= set(found)
    found = [name for name in found if name not in ("python", "gateway")]
    contract.point("no compiler, pip, packaging or training", ", ".join(found) or "none")
    assert found == []


def test_its_health_check_asks_the_service(
    container: Container, facts: dict[str, object], contract: Contract
) -> None:
    check = facts["Healthcheck"]
    assert isinstance(check, dict)
    command = check["Test"]
    assert command[0] == "CMD"
    well = container.execute(*command[1:]).returncode
    ill = container.execute("env", "PORT=1", *command[1:]).returncode
    contract.point("HEALTHCHECK tells ready from not", f"status {well} and {ill}")
    assert (well, ill) == (0, 1)


def test_a_checkpoint_on_the_torch_engine_is_served_too(
    start: StartContainer, contract: Contract, tmp_path: Path
) -> None:
    # What was cut out of PyTorch is not missed.
    model = ROOT / "models" / "gpt2-tales"
    command = [sys.executable, "-m", "archive", "--engine", "torch", "--model", str(model)]
    subprocess.run([*command, "--output", str(tmp_path)], cwd=ROOT, check=True)
    os.chmod(tmp_path, 0o755)
    container = start(
        *("--volume", f"{tmp_path}:/app/model_store:ro"),
        MODEL_ARCHIVE="gpt2.mar",
    )
    seconds = container.wait_ready()
    assert container.complete().status_code == 200
    contract.point("engine: torch, from a .mar, is served too", f"ready in {seconds:.1f} s")
