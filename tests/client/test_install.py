"""The client as its users have it: installed on an old Python, with `requests` and no more."""

from __future__ import annotations

import os
import re
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from tests.pythons import ALL, chosen

ROOT = Path(__file__).parents[2]
# Without a server of the project's, so that they run where the service cannot.
TESTS = ("test_management", "test_retries", "test_streams", "test_terminal")
# Whose processes take their time.
LONG_TESTS = ("test_batch", "test_command_line", "test_unix")
IMPORT_ALL = """
import importlib, pkgutil, gpt2_client
for module in pkgutil.walk_packages(gpt2_client.__path__, "gpt2_client."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


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
