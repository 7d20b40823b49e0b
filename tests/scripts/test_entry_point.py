"""`gpt2-torchserve`, which `pip install --editable .` puts on the PATH, and every command of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commands.catalogue import COMMANDS
from tests.scripts.conftest import Checkout

OWN_PARSER = [name for name, command in COMMANDS.items() if command.options]
SCRIPTS = {"package": "package_model", "train": "train_model"}
WITH_SCRIPT = [name for name in COMMANDS if name != "install"]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout with all rooms, on a Python without packages."""
    checkout = Checkout(tmp_path_factory.mktemp("bare"))
    checkout.has_rooms("archive", "bench", "deploy", "soak", "strangers", "training")
    return checkout


@pytest.mark.parametrize("name", WITH_SCRIPT)
def test_help_comes_at_once(bare: Checkout, name: str) -> None:
    ended = bare.run(SCRIPTS.get(name, name), "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("usage: ")
    assert not bare.asked and not list(bare.root.glob(".venv*"))


@pytest.mark.parametrize("name", sorted(set(OWN_PARSER) & set(WITH_SCRIPT)))
def test_a_wrong_option_is_one_line_at_once(bare: Checkout, name: str) -> None:
    ended = bare.run(SCRIPTS.get(name, name), "--no-such-option", "--offline", "/nowhere")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1
    assert not bare.asked and not list(bare.root.glob(".venv*"))


def test_the_installed_command_is_that_of_the_scripts(bare: Checkout, tmp_path: Path) -> None:
    # By setuptools itself, into a directory: what pip calls, without fetching it.
    build = (
        "import sys; from setuptools.build_meta import build_editable as build; build(sys.argv[1])"
    )
    subprocess.run(
        [sys.executable, "-c", build, tmp_path], cwd=bare.root, check=True, capture_output=True
    )
    [wheel] = tmp_path.glob("gpt2_torchserve-*.whl")
    place = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    python = place / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", wheel]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([*install, "--no-index"], env=clean, check=True, capture_output=True)
    done = subprocess.run(
        [place / "bin" / "gpt2-torchserve", "train", "--help"],
        env=clean,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: gpt2-torchserve train")


def test_a_copy_outside_a_checkout_says_what_it_needs(bare: Checkout, tmp_path: Path) -> None:
    shutil.copytree(bare.root / "commands", tmp_path / "commands")
    done = subprocess.run(
        [sys.executable, "-m", "commands", "serve"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "pip install --editable" in done.stderr
