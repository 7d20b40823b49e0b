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

from archive.errors import PackagingError
from archive.native_build import build_libraries
from archive.reproducible import rewrite
from handler import model_name
from handler.engine.native_model import LIBRARIES

ROOT = Path(__file__).resolve().parent.parent
ENTRY = "gpt2_handler.py"
VERSION = re.compile(r"\d+(\.\d+)*")
# A worker reads its model at no less than this, on a slow disk too.
STARTUP_BYTES_PER_SECOND = 20_000_000
# The staged files, the archiver's copy of them and the archive itself.
COPIES = 3


@dataclass(frozen=True)
class Target:
    """What the archive is called and where it goes."""

    name: str
    version: str
    directory: Path

    def __post_init__(self) -> None:
        if fault := model_name.find_fault(self.name):
            raise PackagingError(f"--name {self.name!r}: a model's name {fault}")
        if not VERSION.fullmatch(self.version):
            raise PackagingError(f"--version {self.version!r}: numbers and dots, such as 1.0")

    @property
    def path(self) -> Path:
        """The archive's file."""
        return self.directory / f"{self.name}.mar"


@contextmanager
def staging(target: Target) -> Iterator[Path]:
    """Give a directory for the archive's files, beside the target, and clean it up in any case."""
    with telling_full_disk(target.directory):
        target.directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".packing-", dir=target.directory) as name:
            content = Path(name) / "content"
            (content / "model").mkdir(parents=True)
            yield content


@contextmanager
def telling_full_disk(directory: Path) -> Iterator[None]:
    """Turn the system's errors about `directory` into one clear line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PackagingError(f"no space left on the disk of {directory}") from None
        if error.errno in (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise PackagingError(f"cannot write to {directory}: {error.strerror}") from None
        raise


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

    The native engine's libraries come with the code that calls them.
    """
    handler = ROOT / "handler"
    shutil.copytree(
        handler,
        content / "handler",
        ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ENTRY, "README.md"),
    )
    if not (handler / ENTRY).is_file():
        raise PackagingError(f"handler/{ENTRY} is missing: the repository is incomplete")
    shutil.copy(handler / ENTRY, content / ENTRY)
    if engine == "native":
        shutil.copytree(build_libraries(), content / LIBRARIES)
    (content / "requirements.txt").write_text("\n".join(requirements()) + "\n")


def requirements() -> list[str]:
    """Return the handler's requirements, pinned as the project pins them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pins: list[str] = project["dependency-groups"]["engine"]
    return sorted(pins)


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
    scratch = workspace / "scratch"
    scratch.mkdir()
    extra = workspace / "extra"
    content.rename(extra)
    handler, config = workspace / ENTRY, workspace / "model-config.yaml"
    needs = workspace / "requirements.txt"
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
        *("--export-path", str(workspace)),
        *("--archive-format", "zip-store"),
    ]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        if "No space left" in done.stderr:
            raise OSError(errno.ENOSPC, "No space left on device")
        raise PackagingError(f"torch-model-archiver failed: {_last_line(done.stderr)}")
    shutil.rmtree(extra)  # its room is needed
    written = workspace / "written.mar"
    rewrite(workspace / target.path.name, written)
    os.replace(written, target.path)
    return target.path


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it gave no reason"
