"""Set-up on a machine without a network, and beside a person's own settings of pip."""

from __future__ import annotations

import ensurepip
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


def bundled_pip() -> Path:
    """The wheel of pip that comes with Python."""
    [wheel] = Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")
    return wheel


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """All that this checkout installs."""
    directory = tmp_path / "wheels here"
    directory.mkdir()
    (directory / bundled_pip().name).symlink_to(bundled_pip())
    with zipfile.ZipFile(directory / "tiny-1.0-py3-none-any.whl", "w") as wheel:
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
def without_network(checkout: Checkout, environment: Path) -> Checkout:
    """A checkout with a real environment, whose index does not answer."""
    shutil.copytree(environment, checkout.root / ".venv", symlinks=True)
    [version] = re.findall(r"pip-([\d.]+)-", bundled_pip().name)
    (checkout.root / "requirements.lock").write_text(f"pip=={version}\ntiny==1.0\ntorch==2.0\n")
    (checkout.root / "pyproject.toml").write_text(PYPROJECT)
    return checkout


def install(
    checkout: Checkout, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `install serve` with an index that cannot be reached."""
    no_index = f"http://127.0.0.1:{free_ports(1)[0]}/simple"
    return subprocess.run(
        [REAL_PYTHON, "-m", "commands", "install", "serve", *arguments],
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
    assert "hold all wheels? (./scripts/wheels fetches them)" in last and str(wheels) in last


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
