"""PyTorch's files (`torch.save`): pytorch_model.bin, also in shards, and training checkpoints.

They are pickles, and none is opened in this process: torch_worker.py reads them in a confined one,
which gives tensors one at a time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import weakref
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from archive.errors import CheckpointError
from archive.formats.tensors import STORED_AS, UNITS, Floats, StoredTensor
from archive.reading import refuse_pointer
from archive.unusual import need

WORKER = Path(__file__).with_name("torch_worker.py")
# No key or token of this environment is for the process that opens other people's pickles.
KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
WAY_OUT = "load it where you trust it, and save it with model.save_pretrained(DIR)"


@dataclass(frozen=True)
class TorchContent:
    """The tensors of some files of torch.save, and the configs that lay beside them.

    `configs` has, by the key that a training script used ("model_args", "config"), a "kind" ("dict"
    or "GPTConfig") and the plain "values".
    """

    tensors: dict[str, StoredTensor]
    configs: dict[str, dict[str, Any]]


def read_torch(paths: list[Path]) -> TorchContent:
    """Return what files of torch.save hold.

    Raises CheckpointError if one is broken, needs more than tensors, or more memory than it may.
    """
    for path in paths:
        refuse_pointer(path)
    need("torch", paths[0].name)
    worker = _Worker(paths)
    tensors = {
        name: _tensor(worker, name, tuple(shape), kind)
        for name, (shape, kind) in worker.found["tensors"].items()
    }
    return TorchContent(tensors, worker.found["configs"])


def _tensor(worker: _Worker, name: str, shape: tuple[int, ...], kind: str) -> StoredTensor:
    def load() -> Floats:
        if kind not in STORED_AS | UNITS:
            raise CheckpointError(f"{worker.name}: {name} is {kind}; floats are needed")
        return worker.read(name, shape)

    return StoredTensor(shape, kind, load)


class _Worker:
    """The confined process over some files, for as long as anyone holds a tensor of theirs."""

    def __init__(self, paths: list[Path]) -> None:
        self.name = paths[0].name
        # A link is read where it leads, and called by its own name.
        names = {str(path.resolve()): path.name for path in paths}
        kept = {key: os.environ[key] for key in KEPT_VARIABLES if key in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(WORKER), *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**kept, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            cwd="/",
        )
        weakref.finalize(self, _end, self._process)
        assert self._process.stdout is not None and self._process.stdin is not None
        self._out, self._in = self._process.stdout, self._process.stdin
        try:
            self.found: dict[str, Any] = json.loads(self._out.readline())
        except json.JSONDecodeError:
            raise self._ended() from None
        if "error" in self.found:
            raise _refused(names[self.found["file"]], self.found["error"])

    def read(self, name: str, shape: tuple[int, ...]) -> Floats:
        values = np.empty(prod(shape), "<f4")
        try:
            self._in.write(json.dumps(name).encode() + b"\n")
            self._in.flush()
        except OSError:
            raise self._ended() from None
        view, filled = memoryview(values.view("u1")), 0  # type: ignore[arg-type]
        while filled < len(view):
            count = self._out.readinto(view[filled:])  # type: ignore[attr-defined]
            if not count:
                raise self._ended()
            filled += count
        return np.asarray(values, np.float32).reshape(shape)

    def _ended(self) -> CheckpointError:
        return CheckpointError(
            f"{self.name} cannot be read: the process that reads it ended, out of memory or "
            f"because the file is broken; {WAY_OUT}"
        )


def _refused(name: str, reason: str) -> CheckpointError:
    if reason.startswith("NEEDS "):
        return CheckpointError(
            f"{name} is a pickle that needs more than tensors: {reason.removeprefix('NEEDS ')}, "
            f"which is never run here; {WAY_OUT}"
        )
    return CheckpointError(f"{name} cannot be read: {reason}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    process.wait()
