"""The tensors that every reader provides: read one at a time, as float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from archive.errors import CheckpointError

Floats = NDArray[np.float32]

# How a file holds the numbers, by the names that safetensors has for them.
STORED_AS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
# Of quantised weights and what lies beside them; no weight itself.
UNITS = {"I8": "<i1", "U8": "<u1"}


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a checkpoint; nothing of it is in memory before `read`."""

    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], Floats]

    def read(self) -> Floats:
        """Return the tensor as float32; each call reads it anew."""
        return self.load()

    def mapped(self, change: Callable[[Floats], Floats], shape: tuple[int, ...]) -> StoredTensor:
        """Return a tensor of `shape` that is this one after `change`."""
        return StoredTensor(shape, self.dtype, lambda: np.ascontiguousarray(change(self.load())))

    def reshaped(self, shape: tuple[int, ...]) -> StoredTensor:
        """Return the same numbers as a tensor of `shape`."""
        return self.mapped(lambda values: values.reshape(shape), shape)

    def transposed(self) -> StoredTensor:
        """Return the tensor with its axes in reverse order."""
        return self.mapped(lambda values: values.T, self.shape[::-1])


@dataclass(frozen=True)
class StoredModel:
    """A checkpoint as it lies there, whatever format it has.

    Attributes:
        format: What people call the format.
        config: As GPT2Config has it, under its names.
        tensors: By the names that the file has.
        directory: Where tokenizer, generation_config.json and model card may lie.
        remarks: What is odd, for the person who packs.
        tokenizer: Where no tokenizer lies in `directory`: the one in the file, or GPT-2's own
            where a format is always trained with that.
        tokenizer_directory: Where the tokenizer lies, if not in `directory`.
        file: The name of the file of weights, or of their index.
    """

    format: str
    config: dict[str, Any]
    tensors: dict[str, StoredTensor]
    directory: Path
    remarks: tuple[str, ...] = ()
    tokenizer: Tokenizer | None = field(default=None, repr=False)
    tokenizer_directory: Path | None = None
    file: str = ""


def to_float32(values: NDArray[Any], kind: str) -> Floats:
    """Return numbers stored as `kind` as float32: exactly, but for float64, which is rounded.

    >>> to_float32(np.array([0x3FC0], "<u2"), "BF16")
    array([1.5], dtype=float32)
    """
    if kind == "BF16":  # the upper half of a float32
        return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    with np.errstate(over="ignore"):  # what float32 cannot hold is found as not finite
        return np.asarray(values, np.float32)


def tensor_in_file(path: Path, offset: int, shape: tuple[int, ...], kind: str) -> StoredTensor:
    """Return the tensor of `kind` whose bytes begin at `offset` of a file."""

    def load() -> Floats:
        count = prod(shape)
        try:
            values = np.fromfile(path, (STORED_AS | UNITS)[kind], count, offset=offset)
        except OSError as error:
            raise CheckpointError(f"{path.name} cannot be read ({error.strerror})") from None
        if len(values) != count:
            raise CheckpointError(f"{path.name} is cut short")
        return to_float32(values, kind).reshape(shape)

    return StoredTensor(shape, kind, load)
