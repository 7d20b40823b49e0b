"""Safetensors: one file, or the shards that an index names.

The header says where each tensor lies; only that is read before a tensor is asked for.
https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

from archive.errors import CheckpointError
from archive.formats.tensors import STORED_AS, UNITS, StoredTensor, tensor_in_file
from archive.reading import read_json, refuse_pointer

ITEM_BYTES = {
    **{"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1},
    **{"BOOL": 1, "U16": 2, "U32": 4, "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1},
}
# The format's own bound.
LARGEST_HEADER = 100_000_000


def read_safetensors(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of one file.

    Raises CheckpointError if it is cut short, or its header says what is not there.
    """
    refuse_pointer(path)
    header, start = _header(path)
    size = path.stat().st_size - start
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            tensors[name] = _tensor(path, name, entry, start, size)
    return tensors


def read_shards(index: Path) -> dict[str, StoredTensor]:
    """Return the tensors of all files that an index names."""
    tensors: dict[str, StoredTensor] = {}
    for shard in shards_of(index):
        tensors |= read_safetensors(shard)
    return tensors


def shards_of(index: Path) -> list[Path]:
    """Return the files that an index names, all of which are there."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index.name} is broken: it has no weight_map")
    names = sorted({Path(str(shard)).name for shard in weight_map.values()})
    for name in names:
        if not (index.parent / name).is_file():
            raise CheckpointError(
                f"{name} is missing, and {index.name} needs it: get it from where that came from"
            )
    return [index.parent / name for name in names]


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors begin."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(LARGEST_HEADER, path.stat().st_size):
                raise _broken(path, "its header is longer than the file")
            text = file.read(length)
        header = json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        raise _broken(path, "its header is not JSON") from None
    if not isinstance(header, dict):
        raise _broken(path, "its header is not a JSON object")
    return header, 8 + length


def _tensor(path: Path, name: str, entry: Any, start: int, size: int) -> StoredTensor:
    try:
        kind, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        numbers = [*shape, begin, end]
    except (TypeError, KeyError, ValueError):
        raise _broken(path, f"its header does not say where {name} lies") from None
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise _broken(path, f"{name} has invalid sizes")
    if kind in ITEM_BYTES and end - begin != prod(shape) * ITEM_BYTES[kind]:
        raise _broken(path, f"{name} has a size that does not match its shape")
    if end > size:
        raise _broken(path, f"{name} lies beyond the end of the file")
    if kind not in STORED_AS | UNITS:
        return StoredTensor(shape, kind, lambda: _refuse(path, name, kind))
    return tensor_in_file(path, start + begin, shape, kind)


def _refuse(path: Path, name: str, kind: str) -> Any:
    raise CheckpointError(
        f"{path.name}: {name} is {kind}; F32, F16, BF16 or F64 is needed: save the model in floats"
    )


def _broken(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{path.name} is broken or cut short ({reason})")
