"""Installs torch: a CPU build, and a CUDA build (several GB) only where somebody asked for it.

From PyTorch's index of CPU builds where that can be reached, else from pip's own index; what would
be taken is asked before it is fetched, and looked at afterwards.
"""

from __future__ import annotations

import json
import os
import platform
import runpy
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from commands.errors import CommandError
from commands.pip import Pip

TORCH = "torch"
CHOICE = "set TORCH_INDEX_URL to an index of CPU builds, or ALLOW_CUDA_TORCH=1 to take it"
INDEX = "https://download.pytorch.org/whl/cpu"
SECONDS = 8  # for the index's first answer
# Run by the environment's Python, whose pip evaluates the markers: of torch's metadata on standard
# input, does it bring NVIDIA's packages on this machine?
BRINGS_CUDA = """
import json, sys
from pip._vendor.packaging.requirements import Requirement
needed = [Requirement(line) for line in json.load(sys.stdin).get("requires_dist", [])]
beside = [each.name for each in needed if not each.marker or each.marker.evaluate()]
sys.exit(not any(name.startswith(("nvidia-", "cuda-")) for name in beside))
"""


@dataclass(frozen=True)
class Source:
    """Where torch comes from: its name, and pip's options for it."""

    place: str
    options: tuple[str, ...]


def install_torch(pip: Pip, python: Path, pin: str, packages: Path) -> None:
    """Install torch as pinned.

    Raises:
        CommandError: Only a CUDA build is to be had, and nobody asked for one.
        PipError: pip failed.
    """
    if _installed_version(packages) == pin.partition("==")[2]:
        return
    source = source_of_torch(pip, python, pin)
    pip.run("install", *source.options, pin)
    if not _cuda_is_wanted() and _is_cuda_build(packages):
        # Or the next run would find it there, and take it.
        pip.run("uninstall", "--yes", TORCH)
        raise CommandError(f"what {source.place} has for {pin} is a CUDA build; {CHOICE}")


def source_of_torch(pip: Pip, python: Path, pin: str) -> Source:
    """Return where torch is to come from.

    Raises:
        CommandError: Only a CUDA build is to be had there, and nobody asked for one.
    """
    # What torch asks for comes by the lock, with hashes; but for NVIDIA's packages, which it lacks.
    source = Source("pip's index", () if _cuda_is_wanted() else ("--no-deps",))
    index = os.environ.get("TORCH_INDEX_URL") or INDEX
    if "PIP_NO_INDEX" not in pip.environment and _is_reached(index):
        source = Source(index, ("--no-deps", "--index-url", index))
    if not _cuda_is_wanted():
        for metadata in pip.would_install("--no-deps", *source.options, pin):
            if "+cu" in metadata["version"] or _brings_cuda(python, metadata):
                place = source.place
                raise CommandError(f"only a CUDA build of {pin} was found at {place}; {CHOICE}")
    return source


def _cuda_is_wanted() -> bool:
    return os.environ.get("ALLOW_CUDA_TORCH") == "1"


def _is_reached(index: str) -> bool:
    if platform.system() != "Linux":  # elsewhere pip's index has CPU builds
        return False
    try:
        with urllib.request.urlopen(index.rstrip("/") + "/torch/", timeout=SECONDS):
            return True
    except (OSError, ValueError):
        return False


def _brings_cuda(python: Path, metadata: dict[str, Any]) -> bool:
    done = subprocess.run(
        [python, "-c", BRINGS_CUDA], input=json.dumps(metadata), text=True, capture_output=True
    )
    return done.returncode == 0


def _installed_version(packages: Path) -> str | None:
    """The version, without what stands behind a plus."""
    for about in packages.glob("torch-*.dist-info"):
        return about.name.removesuffix(".dist-info").partition("-")[2].partition("+")[0]
    return None


def _is_cuda_build(packages: Path) -> bool:
    """Read, not imported: what torch imports may come after it."""
    version = packages / "torch" / "version.py"
    return version.exists() and runpy.run_path(str(version)).get("cuda") is not None
