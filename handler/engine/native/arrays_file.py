"""The file of a model's arrays: safetensors, written array by array, read into one block of memory.

Of the token embedding a step reads a row a token: it stays in the file.

https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from handler.engine.errors import ModelError
from handler.engine.native.array_sizes import ArrayKind
from handler.engine.native.matrices import Array
from handler.engine.native.memory import Arena, mapped
from handler.engine.native.weights import LAYOUT

Bytes = npt.NDArray[np.uint8]
ARRAYS = "model.native.safetensors"
# What is read a little at a time, and not all of it at every step.
STAYS_IN_FILE = "token_embedding"
# What safetensors calls the types that arrays have.
TYPES = {"float32": "F32", "float16": "F16", "int32": "I32", "int8": "I8", "uint8": "U8"}


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
    """Read the arrays of a model into one block of memory, and the file's metadata.

    Returns:
        The arrays by name; `cache`, what keys and values are kept as: "int8" or "float32".

    Raises:
        ModelError: The file is missing, broken or of another layout.
    """
    try:
        with safe_open(path, framework="np") as file:  # which judges the header
            metadata: dict[str, str] = file.metadata() or {}
            if metadata.get("layout") != LAYOUT:
                raise ModelError(
                    f"{path.name} was packed for another version of the engine: pack the model "
                    "again, with package_model"
                )
        return _read(path), metadata
    except FileNotFoundError:
        raise ModelError(
            f"the archive has no {path.name}: pack the model again, with package_model"
        ) from None
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path.name} cannot be read: {error}") from None


def _read(path: Path) -> dict[str, Array]:
    """Read the arrays of a file whose header is sound."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        first = file.tell()
        offsets = {name: tuple(each["data_offsets"]) for name, each in header.items()}
        in_file = _map_some(path, first, offsets)
        sizes = {name: end - start for name, (start, end) in offsets.items() if name not in in_file}
        arena = Arena(sum(map(Arena.aligned, sizes.values())))
        raw = dict(in_file)
        for name, size in sizes.items():
            raw[name] = arena.take(size)
            file.seek(first + offsets[name][0])
            if file.readinto(raw[name].data) != size:
                raise OSError("it ends too early")
    kinds = {safe: dtype for dtype, safe in TYPES.items()}
    return {
        name: raw[name].view(kinds[each["dtype"]]).reshape(each["shape"])
        for name, each in header.items()
    }


def _map_some(path: Path, first: int, offsets: Mapping[str, tuple[int, int]]) -> dict[str, Bytes]:
    """What of a file is not to be read into memory, where its file system lets it be mapped."""
    if STAYS_IN_FILE not in offsets:
        return {}
    try:
        whole = mapped(path)
    except OSError:
        return {}
    start, end = offsets[STAYS_IN_FILE]
    return {STAYS_IN_FILE: whole[first + start : first + end]}
