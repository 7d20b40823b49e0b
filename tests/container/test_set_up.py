"""What a build is told and installs; one whose packages can not be had ends there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

# pip, and Python where the set-up asks it: no index of CPU builds is reached, no torch is there.
PYTHON = """\
#!/bin/bash
case "$*" in
  *"pip --version"*) exit 0 ;;
  *--dry-run*) cat report 2>/dev/null; exit 0 ;;
  *"pip install"*{failing}*) echo "ERROR: no such package"; exit 1 ;;
  *"pip install"*) echo "$*" >>installed; exit 0 ;;
  *) exit 1 ;;
esac
"""


def run_lines() -> list[str]:
    """The Dockerfile's own lines that install packages."""
    text = (ROOT / "Dockerfile").read_text()
    return re.findall(r"^RUN (bash -c .*ensure_env.*)$", text, re.MULTILINE)


def install(
    line: str, home: Path, *, failing: str, report: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a line as `RUN` does, with a stand-in for pip."""
    (home / "scripts").mkdir()
    for name in ("pyproject.toml", "requirements.lock", "scripts/_env.sh"):
        shutil.copy(ROOT / name, home / name)
    (home / "report").write_text(report)
    python = home / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON.replace("{failing}", failing))
    python.chmod(0o755)
    words = shlex.split(line)
    return subprocess.run(words, cwd=home, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("line", run_lines())
@pytest.mark.parametrize("failing", ["pip==", "torch==", "--group"])
def test_a_package_that_can_not_be_had_ends_the_build(
    line: str, failing: str, tmp_path: Path
) -> None:
    done = install(line, tmp_path, failing=failing)
    assert done.returncode != 0, done.stdout
    assert "packages could not be installed" in done.stderr
    assert not (tmp_path / ".venv" / ".stamp").exists()


@pytest.mark.parametrize("line", run_lines())
def test_a_build_that_would_take_a_cuda_torch_ends(line: str, tmp_path: Path) -> None:
    done = install(line, tmp_path, failing="nothing-fails", report='{"name": "nvidia-cublas"}')
    assert done.returncode != 0
    assert "only a CUDA build" in done.stderr
    installed = (tmp_path / "installed").read_text()
    assert "torch" not in installed.replace(str(tmp_path), "")


def test_there_are_such_lines() -> None:
    assert len(run_lines()) == 2


def image(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ./scripts/image with a Docker that only writes down what it is told."""
    docker = home / "docker"
    docker.write_text(f'#!/bin/sh\n[ "$1" = info ] || printf "%s\\n" "$@" >{home}/told\n')
    docker.chmod(0o755)
    given = {
        "PATH": f"{home}:{os.environ['PATH']}",
        "PIP_FIND_LINKS": "/opt/wheels",
        "PIP_EXTRA_INDEX_URL": "https://packages.example/simple",
        "SSL_CERT_FILE": str(home / "ca.pem"),
    }
    command = [str(ROOT / "scripts" / "image"), *words]
    return subprocess.run(
        command, env=os.environ | given, capture_output=True, text=True, timeout=120, check=False
    )


def test_docker_is_not_told_of_files_that_its_build_does_not_see(tmp_path: Path) -> None:
    done = image(tmp_path, "--model", str(ROOT / "models" / "gpt2-tales"))
    assert done.returncode == 0, done.stderr
    told = (tmp_path / "told").read_text().splitlines()
    assert "MODEL=models/gpt2-tales" in told
    assert "PIP_EXTRA_INDEX_URL=https://packages.example/simple" in told
    assert not [word for word in told if "=/" in word or "file://" in word]
    assert "PIP_FIND_LINKS=/opt/wheels" in done.stderr


def test_a_model_elsewhere_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    done = image(tmp_path, "--model", str(tmp_path / "model"))
    assert done.returncode == 1 and "models/" in done.stderr
    assert not (tmp_path / "told").exists()
