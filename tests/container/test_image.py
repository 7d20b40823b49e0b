"""What is in the image, and what is not."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from commands.groups import Groups
from tests.conftest import ROOT
from tests.container.conftest import Contract, StartContainer
from tests.container.container import Container
from tests.container.running import podman

# Which of these modules a Python finds; `json` shows that the question is answered at all.
FOUND = """
import importlib.util, sys
print(*filter(importlib.util.find_spec, ["json", *sys.argv[1:]]))
"""
INSTALLED = """
import importlib.metadata, json
print(json.dumps({each.name: each.version for each in importlib.metadata.distributions()}))
"""
PROGRAMS = (
    "gcc cc g++ c++ cpp clang as ld make cmake git curl wget wheel easy_install virtualenv uv"
)
OWN_ROOMS = ("training", "archive", "commands", "bench", "client", "deploy", "tests")
PIP = re.compile(r"(pip(\d[\d.]*)?(\.exe)?|(pip|setuptools|wheel)-\d.*|get-pip\.py)")
MOST_MEGABYTES = 600  # on Debian's base; of it Java 100


@pytest.fixture(scope="module")
def facts(image: str) -> dict[str, object]:
    return json.loads(podman("image", "inspect", image))[0]


def test_it_says_what_it_is_and_how_it_is_run(facts: dict[str, object], contract: Contract) -> None:
    config = facts["Config"]
    assert isinstance(config, dict)
    assert config["Entrypoint"] == ["python", "-E", "-B", "-u", "-m", "gateway"]
    assert config["User"] == "10001:10001"
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    labels = [label for label in config["Labels"] if label.startswith("org.opencontainers.image.")]
    assert {"title", "description", "licenses", "version", "revision"} <= {
        label.rpartition(".")[2] for label in labels
    }
    said = {name.rpartition(".")[2]: config["Labels"][name] for name in labels}
    assert said["version"] == project()["project"]["version"]
    known = subprocess.run(
        ["git", "cat-file", "-t", said["revision"]], cwd=ROOT, capture_output=True
    )
    assert known.stdout.strip() == b"commit", said["revision"]
    contract.point(
        "user, port, entrypoint (no shell), OCI labels",
        f"{len(labels)} labels, version {said['version']}, revision {said['revision'][:7]}",
    )


def test_it_is_small(facts: dict[str, object], contract: Contract) -> None:
    size = int(str(facts["Size"])) / 1e6
    contract.point(f"at most {MOST_MEGABYTES} MB", f"{size:.0f} MB")
    assert size <= MOST_MEGABYTES


def project() -> dict[str, dict[str, object]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def group(*names: str) -> set[str]:
    """The packages of these groups of pyproject.toml."""
    return {canonicalize_name(Requirement(line).name) for line in Groups(ROOT).requirements(names)}


def needed_by(packages: Iterable[str]) -> set[str]:
    """These packages and all that they ask for, as they are installed here."""
    found: set[str] = set()
    waiting = list(packages)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in found:
            continue
        found.add(name)
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:  # of another system
            continue
        needed = map(Requirement, lines)
        waiting += [each.name for each in needed if not each.marker or each.marker.evaluate()]
    return found


def modules_of(packages: set[str]) -> set[str]:
    """What these packages, and no others, are imported as."""
    return {
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if module.isidentifier() and set(map(canonicalize_name, owners)) <= packages
    }


def installed(container: Container) -> dict[str, str]:
    done = container.execute("python", "-c", INSTALLED)
    assert done.returncode == 0, done.stderr
    return {canonicalize_name(name): said for name, said in json.loads(done.stdout).items()}


def found_by(container: Container, python: str, modules: set[str]) -> list[str]:
    """Which of the modules this Python could import."""
    done = container.execute(python, "-c", FOUND, *sorted(modules))
    assert done.returncode == 0, done.stderr
    first, *found = done.stdout.split()
    assert first == "json"
    return found


def test_it_has_no_compiler_and_no_pip(container: Container, contract: Contract) -> None:
    base = container.execute(
        "python", "-c", "import sys; print(sys._base_executable)"
    ).stdout.strip()
    assert base.startswith("/usr/") and not base.startswith("/app/")
    tools = {"pip", "setuptools", "wheel", "pkg_resources", "ensurepip"}
    found = []
    for python in ("python", base):
        found += [f"{name} of {python}" for name in found_by(container, python, tools)]
    # By name, wherever it lies in the image.
    mounts = container.mounts()
    root, programs, files = str(container.path("/")), set(PROGRAMS.split()), 0
    for directory, subdirectories, names in os.walk(root):
        place = directory.removeprefix(root)
        subdirectories[:] = [name for name in subdirectories if f"{place}/{name}" not in mounts]
        files += len(names)
        # buildah leaves the place where pip's cache was mounted, empty.
        filled = [name for name in subdirectories if os.listdir(f"{directory}/{name}")]
        found += [f"{place}/{name}" for name in [*names, *filled] if PIP.fullmatch(name)]
        if place.endswith(("/bin", "/sbin")):
            found += [f"{place}/{name}" for name in names if name in programs]
    contract.point("no compiler, no pip", ", ".join(found) or f"none in {files:,} files")
    assert files > 5_000
    assert found == []


def test_it_has_nothing_of_packaging_training_tests_or_bench(
    container: Container, contract: Contract
) -> None:
    others = group("package", "train", "test", "bench")
    served = needed_by(group("serve"))
    unwanted = others - served
    assert {"torch-model-archiver", "transformers", "accelerate", "pytest"} <= unwanted
    # What only the hub's client is needed by is named by tokenizers, and cut out.
    unwanted |= {"huggingface-hub", "hf-xet"}
    names = set(installed(container))
    modules = modules_of(unwanted)
    assert {"torch", "model_archiver", "transformers", "pytest"} <= modules
    base = container.execute(
        "python", "-c", "import sys; print(sys._base_executable)"
    ).stdout.strip()
    found = sorted(unwanted & names)
    found += found_by(container, "python", modules | set(OWN_ROOMS))
    found += found_by(container, base, modules)
    contract.point(
        "nothing of pyproject's package, convert, train, test, bench and compile groups",
        ", ".join(found) or f"none of {len(unwanted)} packages and {len(modules)} modules",
    )
    assert found == []


def test_its_packages_are_the_pinned_ones(container: Container, contract: Contract) -> None:
    pins = dict(pin.split("==") for pin in Groups(ROOT).pins.values())
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    found = {name: said.partition("+")[0] for name, said in installed(container).items()}
    assert group("serve") <= set(found)
    others = {name: said for name, said in found.items() if said != pinned.get(name)}
    contract.point(
        "no package at another version than requirements.lock's",
        f"{len(found) - len(others)} of {len(found)} as pinned"
        + "".join(f"; {name} {said}: not in the lock" for name, said in others.items()),
    )
    assert others == {}


def test_its_health_check_asks_the_service(
    container: Container, unready: Container, facts: dict[str, object], contract: Contract
) -> None:
    check = facts["Healthcheck"]
    assert isinstance(check, dict)
    command = check["Test"]
    assert command[0] == "CMD"
    well = container.execute(*command[1:]).returncode
    absent = container.execute("env", "PORT=1", *command[1:]).returncode
    assert unready.get("/health/ready").status_code == 503
    early = unready.execute(*command[1:]).returncode
    assert unready.get("/health/ready").status_code == 503
    contract.point(
        "HEALTHCHECK distinguishes ready from not",
        f"status {well} when ready, {early} when it listens and is not, {absent} when nothing does",
    )
    assert (well, early, absent) == (0, 1, 1)


def test_an_archive_of_the_torch_engine_ends_the_start_with_what_to_do(
    start: StartContainer, contract: Contract, tmp_path: Path
) -> None:
    model = ROOT / "models" / "gpt2-tales"
    command = [sys.executable, "-m", "archive", "--engine", "torch", "--model", str(model)]
    subprocess.run([*command, "--name", "gpt2", "--output", str(tmp_path)], cwd=ROOT, check=True)
    os.chmod(tmp_path, 0o755)
    container = start(
        *("--volume", f"{tmp_path}:/app/model_store:ro"),
        MODEL_ARCHIVE="gpt2.mar",
    )
    status = container.wait_end(120)
    said = "engine: torch needs torch, which is not installed"
    contract.point("engine: torch, without torch, ends it with what to do", f"status {status}")
    assert status == 1
    assert any(said in line and "./scripts/image --torch" in line for line in container.log)
