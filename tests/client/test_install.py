"""The client as its users have it: installed on an old Python, with `requests` and no more."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
OLDEST, NEWEST = (3, 9), (3, 14)
# Without a server of the project's, so that they run where the service cannot.
TESTS = ("test_management", "test_retries", "test_streams", "test_terminal")
# Whose processes take their time.
LONG_TESTS = ("test_batch", "test_command_line", "test_unix")
ALL = os.environ.get("CLIENT_PYTHONS") == "all"
IMPORT_ALL = """
import importlib, pkgutil, gpt2_client
for module in pkgutil.walk_packages(gpt2_client.__path__, "gpt2_client."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def version_of(python: str) -> tuple[int, int] | None:
    asked = [python, "-Ec", "import pip, sys; print(*sys.version_info[:2])"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE)
    except OSError:
        return None
    major, minor = map(int, said.stdout.split()) if said.returncode == 0 else (0, 0)
    return major, minor


def pythons() -> dict[tuple[int, int], str]:
    """One interpreter of each version that the client is for and this machine has, oldest first."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = [str(path) for path in pyenv.glob("3.*/bin/python")]
    places += [f"python3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]
    found = {version: python for python in places if (version := version_of(python))}  # with pip
    found.setdefault(sys.version_info[:2], sys.executable)
    return {each: found[each] for each in sorted(found) if OLDEST <= each <= NEWEST}


def chosen() -> list[str]:
    """The oldest one; where CLIENT_PYTHONS=all each of them, and each with the long tests too."""
    found = list(pythons().values())
    return found if ALL else found[:1]


@pytest.mark.parametrize("python", chosen())
def test_it_works_installed_with_requests_alone(python: str, tmp_path: Path) -> None:
    place = tmp_path / "installed"
    pip = [python, "-m", "pip", "install", "--quiet"]
    pip += ["--disable-pip-version-check", "--target", str(place)]
    done = subprocess.run([*pip, str(ROOT / "client"), "pytest"], capture_output=True, text=True)
    if re.search(r"NewConnectionError|name resolution", done.stderr):
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr

    (package,) = metadata.distributions(name="gpt2-client", path=[str(place)])
    needed = [re.split(r"\W", each)[0] for each in package.requires or [] if "extra" not in each]
    assert needed == ["requests"]
    assert (place / "gpt2_client" / "py.typed").exists()
    assert (place / "bin" / "gpt2").exists()
    assert (place / "share" / "man" / "man1" / "gpt2.1").exists()

    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(place), str(ROOT)]),
    }
    subprocess.run([python, "-W", "error", "-c", IMPORT_ALL], env=environment, check=True)
    command = [python, "-m", "pytest", "--noconftest", "-c", os.devnull, "-p", "no:cacheprovider"]
    tests = (*TESTS, *LONG_TESTS) if ALL else TESTS
    command += ["-q", *(str(ROOT / "tests" / "client" / f"{name}.py") for name in tests)]
    tested = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert tested.returncode == 0, tested.stdout[-3000:]
