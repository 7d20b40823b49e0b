"""GPT-2 on the native step: the arrays of an archive, a library for this processor, a cache."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from handler.engine.model import Logits, ModelShape
from handler.engine.native import cpu
from handler.engine.native.library import NativeStep, load_library
from handler.engine.native.memory import Arena
from handler.engine.native.sampling import NativeSampler
from handler.engine.native.weights import LAYOUT, Array, pack_model, uniform
from handler.engine.settings import EngineSettings
from handler.errors import ModelError

Ids = npt.NDArray[np.int64]

ARRAYS = "model.native.safetensors"
# In the root of an archive: libraries belong to the code that calls them.
LIBRARIES = Path("handler", "engine", "native", "lib")


class NativeSlab:
    """The slots of a native cache, as `KVCache` moves them: a swap exchanges two numbers."""

    def __init__(self, step: NativeStep, slots: int) -> None:
        shape = step.shape
        self.shape = (slots, shape.heads, shape.max_length, shape.width // shape.heads)
        self._step = step
        self._place = list(range(slots))

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one position over all layers."""
        return self._step.bytes_per_token

    def place(self, slot: int) -> int:
        """Where the step keeps what `slot` stands for."""
        return self._place[slot]

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot to another."""
        self._step.copy(self._place[source], self._place[target], length)

    def swap(self, a: int, b: int, length_a: int, length_b: int) -> None:
        """Exchange two slots."""
        self._place[a], self._place[b] = self._place[b], self._place[a]

    def release(self, slot: int, length: int = 0) -> None:
        """Give the memory of a slot back to the system, but for its first `length` positions."""
        self._step.release(self._place[slot], length)


class NativeModel:
    """Runs arrays of `native/weights.py`."""

    def __init__(self, step: NativeStep, slots: int) -> None:
        self.shape = step.shape
        self.is_exact = True
        self.sampler = NativeSampler(step.library, step.shape.vocab_size)
        self.slab = NativeSlab(step, slots)
        self._step = step
        self._logits = np.empty((slots, step.shape.vocab_size), np.float32)

    @classmethod
    def load(
        cls,
        directory: Path,
        shape: ModelShape,
        settings: EngineSettings,
        libraries: Path | None = None,
    ) -> NativeModel:
        """Load the arrays in an archive's model directory, with a library for this processor.

        The libraries are the archive's, if `libraries` names no other directory.

        Raises:
            ModelError: A file is missing or broken, or the processor is too old.
        """
        arrays, form = read_arrays(directory / ARRAYS)
        step = NativeStep(
            choose_library(libraries or directory.parent / LIBRARIES),
            arrays,
            shape,
            cache=form["cache"],
            slots=settings.slots,
            max_rows=max(settings.slots, settings.prefill_piece),
            threads=settings.num_threads,
        )
        return cls(step, settings.slots)

    @property
    def isa(self) -> str:
        """The instruction set that computes."""
        return self._step.isa

    def prefill(self, slot: int, tokens: Ids, start: int, num_logits: int) -> Logits:
        """See `Model.prefill`."""
        count, most = len(tokens), self._step.max_rows
        logits = np.empty((num_logits, self.shape.vocab_size), np.float32)
        place, filled = self.slab.place(slot), 0
        for first in range(0, count, most):
            end = min(first + most, count)
            rows = np.empty((end - first, 3), np.int32)
            rows[:, 0], rows[:, 1] = tokens[first:end], place
            rows[:, 2] = np.arange(start + first, start + end)
            want = np.arange(max(first, count - num_logits), end) - first
            self._step.step(rows, want, logits[filled : filled + len(want)])
            filled += len(want)
        return logits

    def decode(self, tokens: Ids, lengths: Ids) -> Logits:
        """See `Model.decode`."""
        batch = len(tokens)
        rows = np.empty((batch, 3), np.int32)
        rows[:, 0], rows[:, 2] = tokens, lengths
        rows[:, 1] = [self.slab.place(slot) for slot in range(batch)]
        logits = self._logits[:batch]
        self._step.step(rows, np.arange(batch), logits)
        return logits


def read_arrays(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Read the arrays of a model into one piece of memory, and what they are packed as.

    Returns:
        The arrays by name; `precision` of weights and `cache`, each "int8" or "float32".

    Raises:
        ModelError: The file is missing, broken or of another layout.
    """
    try:
        with safe_open(path, framework="np") as file:
            form: dict[str, str] = file.metadata() or {}
            if form.get("layout") != LAYOUT:
                raise ModelError("the archive was packed for another engine; pack it again")
            names = list(file.keys())
            arena = Arena(path.stat().st_size + len(names) * 64)
            return {name: arena.add(file.get_tensor(name)) for name in names}, form
    except FileNotFoundError:
        raise ModelError(f"the archive has no {path.name}") from None
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path.name} cannot be read: {error}") from None


def choose_library(directory: Path) -> ctypes.CDLL:
    """Load the library for this processor; ENGINE_ISA in the environment forces one.

    Raises:
        ModelError: None of them can be run here.
    """

    def load(isa: str) -> ctypes.CDLL:
        return load_library(directory / f"libgpt2-{isa}.so")

    return cpu.choose(load, _agree, os.environ.get("ENGINE_ISA", ""))


def _agree(library: ctypes.CDLL, reference: ctypes.CDLL) -> bool:
    """Whether two libraries compute the same bits for a small model."""
    shape, arrays = _small_model()
    rows = np.array([(t % 7, 0, t) for t in range(20)], np.int32)
    answers = []
    for each in (library, reference):
        logits = np.empty((1, shape.vocab_size), np.float32)
        NativeStep(each, arrays, shape, slots=1, max_rows=20).step(rows, [19], logits)
        answers.append(logits.tobytes())
    return answers[0] == answers[1]


@cache
def _small_model() -> tuple[ModelShape, dict[str, Array]]:
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
    return shape, dict(pack_model(weights, shape, uniform("int8")))
