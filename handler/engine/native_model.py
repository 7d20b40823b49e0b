"""GPT-2 on the native step: the arrays of an archive, a library for this processor, a cache."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from handler.engine.model import ModelShape
from handler.engine.native import cpu
from handler.engine.native.arrays_file import ARRAYS, read_arrays
from handler.engine.native.library import NativeStep, load_library
from handler.engine.native.matrices import Array
from handler.engine.native.records import PRECISIONS
from handler.engine.native.weights import pack_model, uniform
from handler.engine.settings import EngineSettings
from handler.engine.step import (
    NO_TOKEN,
    Answer,
    Ask,
    Deadline,
    DecodeStep,
    Draw,
    Embed,
    Rows,
)

# In the root of an archive: libraries belong to the code that calls them.
LIBRARIES = Path("handler", "engine", "native", "lib")


class NativeModel:
    """Runs arrays of `native/weights.py`."""

    is_exact = True

    def __init__(self, step: NativeStep) -> None:
        self.shape = step.shape
        self.buffer = step
        self._step = step

    @classmethod
    def load(cls, directory: Path, shape: ModelShape, settings: EngineSettings) -> NativeModel:
        """Load the arrays in an archive's model directory, with its library for this processor.

        Raises:
            ModelError: A file is missing or broken, or the processor is too old.
        """
        return cls(load_step(directory, shape, settings, directory.parent / LIBRARIES))

    @property
    def isa(self) -> str:
        """The instruction set that computes."""
        return self._step.isa

    def step(self, rows: Rows, asks: Sequence[Ask]) -> list[Answer]:
        """See `Model.step`."""
        others = [ask for ask in asks if not isinstance(ask, Embed)]
        if len(others) == len(asks):
            return self._step.step_and_answer(rows, others)
        ranges = [range(a.row, a.row + a.count) for a in asks if isinstance(a, Embed)]
        want = sorted(set().union(*ranges))
        hidden = np.empty((len(want), self.shape.width), np.float32)
        answers = iter(self._step.step_and_answer(rows, others, want, hidden))
        # Rows of one ask are all wanted, so they stand beside each other.
        first = {row: place for place, row in enumerate(want)}
        return [
            Answer(NO_TOKEN, hidden=hidden[first[ask.row] :][: ask.count])
            if isinstance(ask, Embed)
            else next(answers)
            for ask in asks
        ]

    def decode(
        self,
        rows: Rows,
        draws: Sequence[Draw],
        uniforms: npt.NDArray[np.float64],
        until: Deadline,
    ) -> list[DecodeStep]:
        """See `Model.decode`."""
        return self._step.decode(rows, draws, uniforms, until)


def load_step(
    directory: Path, shape: ModelShape, settings: EngineSettings, libraries: Path
) -> NativeStep:
    """Load the arrays in `directory` into one of `libraries`.

    Raises:
        ModelError: A file is missing or broken, or the processor is too old.
    """
    arrays, metadata = read_arrays(directory / ARRAYS)
    return NativeStep(
        choose_library(libraries),
        arrays,
        shape,
        cache=metadata["cache"],
        slots=settings.slots,
        max_rows=settings.max_num_batched_tokens,
        threads=settings.num_threads,
    )


def choose_library(directory: Path) -> ctypes.CDLL:
    """Load the library for this processor; ENGINE_ISA in the environment forces one.

    Raises:
        ModelError: None of them can be run here.
    """

    def load(isa: str) -> ctypes.CDLL:
        return load_library(directory / f"libgpt2-{isa}.so")

    return cpu.choose(load, _agree, os.environ.get("ENGINE_ISA", ""))


def _agree(library: ctypes.CDLL, reference: ctypes.CDLL) -> bool:
    """Whether two libraries compute the same bits for small models of every precision."""
    return all(
        _answer(library, precision) == _answer(reference, precision) for precision in PRECISIONS
    )


def _answer(library: ctypes.CDLL, precision: str) -> bytes:
    """The last logits of a small model."""
    shape, arrays = _small_model(precision)
    cache = "float32" if precision == "float32" else "int8"
    rows = np.array([(t % 7, 0, t) for t in range(20)], np.int32)
    logits = np.empty((1, shape.vocab_size), np.float32)
    step = NativeStep(library, arrays, shape, cache=cache, slots=1, max_rows=20)
    step.step(rows, [19], logits)
    return logits.tobytes()


@cache
def _small_model(precision: str) -> tuple[ModelShape, dict[str, Array]]:
    shape = ModelShape(layers=1, heads=1, width=16, max_length=32, vocab_size=40)
    random = np.random.default_rng(0)
    sizes = {"attn.c_attn": (16, 48), "attn.c_proj": (16, 16), "mlp.c_fc": (16, 64),
             "mlp.c_proj": (64, 16)}  # fmt: skip
    weights = {"wte.weight": random.random((40, 16), np.float32) - 0.5,
               "wpe.weight": random.random((32, 16), np.float32) - 0.5}  # fmt: skip
    for name, size in sizes.items():
        weights[f"h.0.{name}.weight"] = random.random(size, np.float32) - 0.5
        weights[f"h.0.{name}.bias"] = random.random(size[1], np.float32)
    for name in ("h.0.ln_1", "h.0.ln_2", "ln_f"):
        weights[f"{name}.weight"] = random.random(16, np.float32) + 0.5
        weights[f"{name}.bias"] = random.random(16, np.float32)
    return shape, dict(pack_model(weights, shape, uniform(precision)))
