"""Puts model files, handler code and settings into a `.mar` with torch-model-archiver.

Knows the archive's layout; knows nothing of what the model files hold.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from archive.disk import telling_disk_faults
from archive.errors import PackagingError
from archive.native_build import build_libraries
from archive.reproducible import write_anew
from handler import model_name
from handler.engine.native_model import LIBRARIES
from handler.engine.settings import SHIPPED

ROOT = Path(__file__).resolve().parent.parent
ENTRY = "gpt2_handler.py"
REQUIREMENTS = "requirements.txt"
VERSION = re.compile(r"\d+(\.\d+)*")
# A worker reads its model at no less than this, on a slow disk too.
STARTUP_BYTES_PER_SECOND = 20_000_000
# By what torch-model-archiver calls them, and what their names end with.
FORMATS = {"default": ".mar", "tgz": ".tar.gz", "no-archive": ""}
# The staged files, the archiver's copy of them and the archive itself.
COPIES = 3


@dataclass(frozen=True)
class Target:
    """What the archive is called and where it goes."""

    name: str
    version: str
    directory: Path
    format: str = "default"

    def __post_init__(self) -> None:
        if fault := model_name.find_fault(self.name):
            raise PackagingError(f"--name {self.name!r}: a model's name {fault}")
        if not VERSION.fullmatch(self.version):
            raise PackagingError(f"--version {self.version!r}: numbers and dots, such as 1.0")

    @property
    def path(self) -> Path:
        """The archive's file, or its folder."""
        return self.directory / f"{self.name}{FORMATS[self.format]}"


@contextmanager
def staging(target: Target) -> Iterator[Path]:
    """Give a directory for the archive's files, beside the target, and clean it up in any case."""
    with telling_disk_faults(target.directory):
        target.directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".packing-", dir=target.directory) as name:
            content = Path(name) / "content"
            (content / "model").mkdir(parents=True)
            yield content


def check_space(directory: Path, model_bytes: int) -> None:
    """Raise PackagingError if the disk has no room for an archive of `model_bytes`."""
    needed, free = COPIES * model_bytes, shutil.disk_usage(directory).free
    if free < needed:
        raise PackagingError(
            f"no space left on the disk of {directory}: about {needed / 1e6:,.0f} MB are needed, "
            f"{free / 1e6:,.0f} MB are free"
        )


def add_code(content: Path, engine: str) -> None:
    """Copy the handler's entry to the root, its package beside it, and the requirements.

    The native engine's libraries come with the code that calls them, and so do the settings that
    it takes where an archive's model-config.yaml leaves some out.
    """
    handler = ROOT / "handler"
    shutil.copytree(
        handler,
        content / "handler",
        ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ENTRY, REQUIREMENTS, "README.md"),
    )
    shutil.copy(ROOT / "config" / SHIPPED, content / "handler" / "engine" / SHIPPED)
    if not (handler / ENTRY).is_file():
        raise PackagingError(f"handler/{ENTRY} is missing: the repository is incomplete")
    shutil.copy(handler / ENTRY, content / ENTRY)
    if engine == "native":
        shutil.copytree(build_libraries(), content / LIBRARIES)
    shutil.copy(handler / REQUIREMENTS, content / REQUIREMENTS)


def pins() -> list[str]:
    """Return the versions of the handler's requirements that the project tries it with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found: list[str] = project["dependency-groups"]["engine"]
    return sorted(found)


def add_settings(content: Path, engine: str, settings: Path) -> None:
    """Write model-config.yaml for `engine`, with a start-up time that fits the model's size."""
    values: dict[str, Any] = yaml.safe_load(settings.read_text())
    values.pop("packaging", None)  # it has done its work; archive.json says what came of it
    values["engine"] = {**values.get("engine", {}), "kind": engine}
    reading = model_bytes(content) // STARTUP_BYTES_PER_SECOND
    values["startupTimeout"] = values.get("startupTimeout", 120) + reading
    text = yaml.safe_dump(values, sort_keys=False)
    (content / "model-config.yaml").write_text(text)


def model_bytes(content: Path) -> int:
    """Return the size of the staged model files."""
    return sum(path.stat().st_size for path in (content / "model").iterdir())


def content_digest(content: Path) -> str:
    """Return a SHA-256 over the names and bytes of all staged files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in content.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(content)}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def pack(content: Path, target: Target) -> Path:
    """Run torch-model-archiver over the staged files and move the archive into its place."""
    workspace = content.parent
    # The archiver works in TMPDIR/<name>, and never cleans up there after a failure.
    scratch, packed = workspace / "scratch", workspace / "packed"
    scratch.mkdir()
    packed.mkdir()
    extra = workspace / "extra"
    content.rename(extra)
    handler, config = workspace / ENTRY, workspace / "model-config.yaml"
    needs = workspace / REQUIREMENTS
    for path in (handler, config, needs):
        (extra / path.name).rename(path)
    command = [
        sys.executable,
        "-m",
        "model_archiver.model_packaging",
        *("--model-name", target.name),
        *("--version", target.version),
        *("--handler", str(handler)),
        *("--config-file", str(config)),
        *("--requirements-file", str(needs)),
        *("--extra-files", str(extra)),
        *("--export-path", str(packed)),
        *("--archive-format", "zip-store"),
    ]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        if "No space left" in done.stderr:
            raise OSError(errno.ENOSPC, "No space left on device")
        raise PackagingError(f"torch-model-archiver failed: {_last_line(done.stderr)}")
    shutil.rmtree(extra)  # its room is needed
    written = workspace / "written"
    write_anew(packed / f"{target.name}.mar", written, target.name, target.format)
    _replace(target.path, written, workspace / "replaced")
    return target.path


def packed_size(path: Path) -> int:
    """Return the bytes of an archive: a file, or a folder of files."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _replace(path: Path, made: Path, aside: Path) -> None:
    """Put an archive in its place; what stood there goes with the workspace."""
    if made.is_dir() and path.is_dir():
        if not (path / "model" / "archive.json").is_file():
            raise PackagingError(f"{path} is no archive of this command; give another --name")
        path.rename(aside)
    os.replace(made, path)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it gave no reason"
