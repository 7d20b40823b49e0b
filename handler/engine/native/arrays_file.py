"""The file of a model's arrays: safetensors, written array by array, read into one piece of memory.

https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from handler.engine.errors import ModelError
from handler.engine.native.memory import Arena
from handler.engine.native.weights import LAYOUT, Array, ArrayKind

ARRAYS = "model.native.safetensors"
# What safetensors calls the types that arrays have.
TYPES = {"float32": "F32", "float16": "F16", "int32": "I32", "int8": "I8"}


def write_arrays(
    path: Path, kinds: Mapping[str, ArrayKind], arrays: Iterable[tuple[str, Array]], cache: str
) -> None:
    """Write a model's arrays for the native engine; see `write_tensors`.

    Args:
        path: The file.
        kinds: What each array is, in the order in which they come.
        arrays: Their names and values.
        cache: What keys and values are to be kept as.
    """
    write_tensors(path, kinds, arrays, {"layout": LAYOUT, "cache": cache})


def write_tensors(
    path: Path,
    kinds: Mapping[str, ArrayKind],
    arrays: Iterable[tuple[str, Array]],
    metadata: Mapping[str, str],
) -> None:
    """Write arrays one after another: no more than one of them is in memory.

    Args:
        path: The file; the same arrays give the same bytes.
        kinds: What each array is, in the order in which they come.
        arrays: Their names and values.
        metadata: What the file says besides.

    Raises:
        ValueError: An array is not what was announced.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, kind in kinds.items():
        start, end = end, end + kind.nbytes
        header[name] = {
            "dtype": TYPES[kind.dtype],
            "shape": list(kind.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    expected = iter(kinds.items())
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, array in arrays:
            wanted, kind = next(expected)
            if (name, array.dtype.name, array.shape) != (wanted, kind.dtype, kind.shape):
                raise ValueError(f"{name} {array.shape} comes where {wanted} {kind.shape} should")
            file.write(np.ascontiguousarray(array).data)
        if next(expected, None) is not None:
            raise ValueError("arrays are missing")


def read_arrays(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """Read the arrays of a model into one piece of memory, and what the file says of itself.

    Returns:
        The arrays by name; `cache`, what keys and values are kept as: "int8" or "float32".

    Raises:
        ModelError: The file is missing, broken or of another layout.
    """
    try:
        with safe_open(path, framework="np") as file:
            form: dict[str, str] = file.metadata() or {}
            if form.get("layout") != LAYOUT:
                raise ModelError(
                    f"{path.name} was packed for another version of the engine: pack the model "
                    "again, with package_model"
                )
            names = list(file.keys())
            arena = Arena(path.stat().st_size + len(names) * 64)
            return {name: arena.add(file.get_tensor(name)) for name in names}, form
    except FileNotFoundError:
        raise ModelError(
            f"the archive has no {path.name}: pack the model again, with package_model"
        ) from None
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path.name} cannot be read: {error}") from None
