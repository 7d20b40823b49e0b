"""What a build is told and installs; one whose packages cannot be had ends there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pip
import pytest

from tests.conftest import ROOT

# pip, and Python where the set-up asks it: no index of CPU builds is reached, no torch is there.
PYTHON = """\
#!/bin/bash
case "$*" in
  *"pip --version"*) exit 0 ;;
  *--dry-run*) cat report 2>/dev/null; exit 0 ;;
  *pip._vendor* | -SEc*) exec {python} "$@" ;;
  *"pip install"*{failing}*) echo "ERROR: no such package"; exit 1 ;;
  *"pip install"*) echo "$*" >>installed; exit 0 ;;
  *) exit 1 ;;
esac
"""


# In the environment of the directory that it is started in.
INSTALL_TORCH = """
import sys
from pathlib import Path
from commands.environment import Environment
from commands.errors import CommandError
from commands.groups import Groups
from commands.torch_build import install_torch

groups, environment = Groups(Path(sys.argv[1])), Environment(Path.cwd() / ".venv")
pip = environment.prepare()
try:
    install_torch(pip, environment.python, groups.pin("torch"), environment.packages)
except CommandError as error:
    sys.exit(f"error: {error}")
"""
LOCK = ROOT / "requirements.lock"
NVIDIA = 'nvidia-cublas==13.0; platform_system == "Linux"'
ELSEWHERE = 'nvidia-cublas==13.0; platform_machine == "none-such"'


# With the image's argument GROUPS="serve torch".
WITH_TORCH = "python3 -m commands install serve torch"


def run_lines() -> list[str]:
    """The Dockerfile's own lines that install packages."""
    text = (ROOT / "Dockerfile").read_text()
    found = re.findall(r"^RUN (python3 -m commands install .*)$", text, re.MULTILINE)
    return [*(line.replace("${GROUPS}", "serve") for line in found), WITH_TORCH]


def install(
    line: str, home: Path, *, failing: str, report: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a line as `RUN` does, with a stand-in for pip."""
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, home / name)
    shutil.copytree(ROOT / "commands", home / "commands")
    (home / "report").write_text(report)
    python = home / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON.replace("{failing}", failing).replace("{python}", sys.executable))
    python.chmod(0o755)
    words = [sys.executable, *shlex.split(line)[1:]]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        words, cwd=home, env=clean, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("line", run_lines())
@pytest.mark.parametrize("failing", ["pip.txt", "numpy=="])
def test_a_package_that_can_not_be_had_ends_the_build(
    line: str, failing: str, tmp_path: Path
) -> None:
    done = install(line, tmp_path, failing=failing)
    assert done.returncode != 0, done.stdout
    assert "packages could not be installed" in done.stderr
    assert not (tmp_path / ".venv" / ".stamp").exists()


def test_a_build_that_would_take_a_cuda_torch_ends(tmp_path: Path) -> None:
    torch = {"name": "torch", "version": "2.0", "requires_dist": [NVIDIA]}
    report = json.dumps({"install": [{"metadata": torch}]})
    done = install(WITH_TORCH, tmp_path, failing="nothing-fails", report=report)
    assert done.returncode != 0
    assert "only a CUDA build" in done.stderr
    installed = (tmp_path / "installed").read_text()
    assert "torch" not in installed.replace(str(tmp_path), "")


def test_there_are_such_lines() -> None:
    assert len(run_lines()) == 3


class Index:
    """An index of wheels on this machine, with one torch."""

    def __init__(self, home: Path, build: str, cuda: str | None, needs: tuple[str, ...]) -> None:
        self.pinned = re.findall(r"^torch==(.+)$", LOCK.read_text(), re.MULTILINE)[0]
        self.asked: list[str] = []
        version = self.pinned + build
        needed = "".join(f"Requires-Dist: {line}\n" for line in needs)
        metadata = f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n{needed}"
        self._page = home / "index" / "torch"
        self._page.mkdir(parents=True)
        name = f"torch-{version}-py3-none-any.whl"
        about = f"torch-{version}.dist-info"
        with zipfile.ZipFile(self._page / name, "w") as wheel:
            # What torch imports is not there yet when it is looked at.
            wheel.writestr("torch/__init__.py", "import what_comes_later\n")
            wheel.writestr("torch/version.py", f"from typing import Optional\ncuda = {cuda!r}\n")
            wheel.writestr(f"{about}/METADATA", metadata)
            wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            names = [*wheel.namelist(), f"{about}/RECORD"]
            wheel.writestr(names[-1], "".join(f"{name},,\n" for name in names))
        (self._page / f"{name}.metadata").write_text(metadata)
        link = f'<a href="{name}" data-dist-info-metadata="true">{name}</a>'
        (self._page / "index.html").write_text(f"<!DOCTYPE html><html><body>{link}</body></html>")

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        asked = self.asked

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                asked.append(self.path)

        handler = partial(Handler, directory=str(self._page.parent))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_address[1]}"
            server.shutdown()


@pytest.mark.parametrize(
    ("build", "cuda", "needs", "settings", "says"),
    [
        pytest.param("", "13.0", (NVIDIA,), {}, "was found at", id="packages-of-nvidia"),
        pytest.param("+cu130", "13.0", (), {}, "was found at", id="name"),
        pytest.param("", "13.0", (), {}, "is a CUDA build", id="seen-only-once-installed"),
        pytest.param("+cu130", "13.0", (), {"ALLOW_CUDA_TORCH": "1"}, "", id="wanted"),
        pytest.param("+cpu", None, (ELSEWHERE,), {}, "", id="cpu"),
    ],
)
def test_torch_of_an_index_is_no_cuda_build_unless_wanted(
    build: str,
    cuda: str | None,
    needs: tuple[str, ...],
    settings: dict[str, str],
    says: str,
    tmp_path: Path,
) -> None:
    # The real pip, in an environment of its own.
    venv.create(tmp_path / ".venv")
    [packages] = (tmp_path / ".venv" / "lib").glob("python*/site-packages")
    (packages / "pip").symlink_to(pip.__path__[0])
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    clean |= {"PIP_CONFIG_FILE": os.devnull, "no_proxy": "127.0.0.1", "PIP_NO_CACHE_DIR": "1"}
    index = Index(tmp_path, build, cuda, needs)
    with index.serve() as url:
        done = subprocess.run(
            [sys.executable, "-c", INSTALL_TORCH, str(ROOT)],
            cwd=tmp_path,
            env=clean | settings | {"TORCH_INDEX_URL": url, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    log = (tmp_path / ".venv" / "install.log").read_text()
    assert (done.returncode == 0) == (not says), done.stderr + log
    assert (packages / "torch").exists() == (not says)
    if says:
        assert says in done.stderr and url in done.stderr and "ALLOW_CUDA_TORCH=1" in done.stderr
    # Several GB, where it is torch: told before they are fetched.
    fetched = any(path.endswith(".whl") for path in index.asked)
    assert fetched == (says != "was found at"), index.asked


def test_an_archive_with_a_changed_file_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unpack = runpy.run_path(str(ROOT / "deploy" / "image" / "unpack.py"))
    (tmp_path / "packed" / "model").mkdir(parents=True)
    (tmp_path / "packed" / "handler.py").write_text("PACKED = True\n")
    stated = unpack["content_digest"](tmp_path / "packed")
    for name, handler, status in (("as-packed", "True", 0), ("changed", "None", 1)):
        archive = tmp_path / f"{name}.mar"
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr("handler.py", f"PACKED = {handler}\n")
            packed.writestr("model/archive.json", json.dumps({"content_sha256": stated}))
        monkeypatch.setattr(sys, "argv", ["unpack.py", str(archive), str(tmp_path / name)])
        assert unpack["main"]() == status, capsys.readouterr()
    assert f"changed.mar holds {unpack['content_digest'](tmp_path / 'changed')}" in (
        capsys.readouterr().err
    )


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
    assert done.returncode == 2 and "models/" in done.stderr
    assert not (tmp_path / "told").exists()
