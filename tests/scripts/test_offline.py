"""Set-up on a machine without a network, and beside a person's own settings of pip."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.conftest import free_ports
from tests.scripts.conftest import REAL_PYTHON, Checkout

PYPROJECT = """
[project]
name = "gpt2-torchserve"
version = "0.2.0"
[dependency-groups]
serve = ["tiny==1.0"]
package = ["tiny==1.0"]
"""
# Everything that a person may have told pip for other environments, and that would break this one.
HOSTILE = {
    "PIP_USER": "1",
    "PIP_TARGET": "/nowhere/target",
    "PIP_PREFIX": "/nowhere/prefix",
    "PIP_REQUIRE_HASHES": "1",
    "PIP_NO_BINARY": ":all:",
    "PIP_DRY_RUN": "1",
    "PIP_CONSTRAINT": "/nowhere/constraints.txt",
    "PIP_PYTHON": "/nowhere/python",
    "PIP_QUIET": "3",
}
TINY = "tiny-1.0-py3-none-any.whl"


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def write_pip(directory: Path) -> Path:
    """Write a wheel of the pip that runs here, which is the pinned one."""
    found = importlib.metadata.distribution("pip")
    wheel = directory / f"pip-{found.version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        for file in found.files or []:
            if file.parts[0] != ".." and file.suffix != ".pyc":
                packed.write(str(file.locate()), str(file))
    return wheel


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """All that this checkout installs."""
    directory = tmp_path / "wheels here"
    directory.mkdir()
    write_pip(directory)
    with zipfile.ZipFile(directory / TINY, "w") as wheel:
        wheel.writestr("tiny.py", "")
        about = "tiny-1.0.dist-info"
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return directory


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment, which takes some seconds to make."""
    place = tmp_path_factory.mktemp("new") / ".venv"
    subprocess.run([REAL_PYTHON, "-m", "venv", place], check=True)
    return place


@pytest.fixture
def without_network(checkout: Checkout, environment: Path, wheels: Path) -> Checkout:
    """A checkout with a real environment, whose index does not answer."""
    shutil.copytree(environment, checkout.root / ".venv", symlinks=True)
    [pip] = wheels.glob("pip-*")
    pins = (f"pip=={pip.name.split('-')[1]}", pip), ("tiny==1.0", wheels / TINY)
    lines = [f"{pin} \\\n    --hash=sha256:{digest(file)}\n" for pin, file in pins]
    (checkout.root / "requirements.lock").write_text("".join(lines) + "torch==2.0\n")
    (checkout.root / "pyproject.toml").write_text(PYPROJECT)
    return checkout


def install(
    checkout: Checkout, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `install serve` with an index that cannot be reached."""
    return run(checkout, "install", "serve", *arguments, **environment)


def run(checkout: Checkout, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command with an index that cannot be reached."""
    no_index = f"http://127.0.0.1:{free_ports(1)[0]}/simple"
    return subprocess.run(
        [REAL_PYTHON, "-m", "commands", *words],
        cwd=checkout.root,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(checkout.root),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": no_index,
            "PIP_RETRIES": "0",
            **environment,
        },
        capture_output=True,
        text=True,
    )


def has_tiny(checkout: Checkout) -> bool:
    return any((checkout.root / ".venv").glob("lib/python*/site-packages/tiny.py"))


def test_wheels_in_a_directory_are_enough(without_network: Checkout, wheels: Path) -> None:
    done = install(without_network, "--offline", str(wheels))
    assert done.returncode == 0, done.stderr
    assert "takes about" in done.stderr and has_tiny(without_network)


def test_a_wheel_that_is_missing_is_told_with_what_to_do(
    without_network: Checkout, wheels: Path
) -> None:
    next(wheels.glob("tiny-*")).unlink()
    done = install(without_network, "--offline", str(wheels))
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert "contain all wheels? (./scripts/wheels downloads them)" in last and str(wheels) in last


def test_no_settings_of_pip_for_other_environments_break_ours(
    without_network: Checkout, wheels: Path
) -> None:
    file = without_network.root / "pip.conf"
    file.write_text("[global]\nuser = true\ntarget = /nowhere\n[install]\nrequire-hashes = true\n")
    hostile = HOSTILE | {"PIP_CONFIG_FILE": str(file)}
    done = install(without_network, "--offline", str(wheels), **hostile)
    assert done.returncode == 0, done.stderr
    assert has_tiny(without_network)


def test_where_packages_come_from_is_heeded(without_network: Checkout, wheels: Path) -> None:
    file = without_network.root / "pip.conf"
    file.write_text(f"[global]\nno-index = true\nfind-links = {wheels.as_uri()}\n")
    done = install(without_network, PIP_CONFIG_FILE=str(file))
    assert done.returncode == 0, done.stderr
    assert has_tiny(without_network)


def test_a_file_that_is_another_than_the_locks_is_not_used(
    without_network: Checkout, wheels: Path
) -> None:
    with zipfile.ZipFile(wheels / TINY, "a") as wheel:
        wheel.writestr("planted.py", "")
    done = install(without_network, "--offline", str(wheels))
    assert done.returncode == 1
    assert "does not match its hash in requirements.lock" in done.stderr.splitlines()[-1]
    assert not has_tiny(without_network)


def test_a_package_that_the_lock_lacks_is_not_taken(
    without_network: Checkout, wheels: Path
) -> None:
    lock = without_network.root / "requirements.lock"
    lock.write_text(re.sub(r"tiny==1.0 .*\n.*\n", "", lock.read_text()))
    done = install(without_network, "--offline", str(wheels))
    assert done.returncode == 1
    assert not has_tiny(without_network)


def test_wheels_are_fetched_by_their_hashes_and_torch_by_what_came_first(
    without_network: Checkout, wheels: Path, tmp_path: Path
) -> None:
    # It asks for torch twice: from its index, and again with the hash of the file that came.
    with zipfile.ZipFile(wheels / "torch-2.0-py3-none-any.whl", "w") as wheel:
        about = "torch-2.0.dist-info"
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 2.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    project = without_network.root / "pyproject.toml"
    project.write_text(PYPROJECT + 'train = ["tiny==1.0", "torch==2.0"]\ncompile = []\n')
    command = ["wheels", str(tmp_path / "fetched"), "--groups", "train"]
    found = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels.as_uri()}
    done = run(without_network, *command, **found)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "fetched").iterdir()} == {
        path.name for path in wheels.iterdir()
    }
    with zipfile.ZipFile(wheels / TINY, "a") as wheel:
        wheel.writestr("planted.py", "")
    command[1] = str(tmp_path / "other")
    assert run(without_network, *command, **found).returncode == 1
