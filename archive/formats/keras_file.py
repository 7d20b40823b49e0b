"""TensorFlow's tf_model.h5, as transformers wrote it until 2025; h5py reads it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from archive.errors import CheckpointError
from archive.formats.tensors import Floats, StoredTensor, to_float32
from archive.reading import refuse_pointer
from archive.unusual import need

KINDS = {"float32": "F32", "float16": "F16", "float64": "F64"}
LEAVES = {"weight": "weight", "embeddings": "weight", "gamma": "weight"}
LEAVES |= {"bias": "bias", "beta": "bias", "kernel": "weight"}
NAME = re.compile(r"(?:.*/)?(?P<module>h_\._\d+/[\w/]+|wte|wpe|ln_f|lm_head)/(?P<leaf>\w+):0")


def read_keras(path: Path) -> dict[str, StoredTensor]:
    """Return the tensors of a file by GPT2LMHeadModel's names.

    Raises CheckpointError if it is broken, or if h5py cannot be had.
    """
    refuse_pointer(path)
    need("h5py", path.name)
    import h5py

    tensors: dict[str, StoredTensor] = {}

    def visit(name: str, item: Any) -> None:
        match = NAME.fullmatch(name) if isinstance(name, str) else None  # bytes: no UTF-8
        if match and isinstance(item, h5py.Dataset) and match["leaf"] in LEAVES:
            module = match["module"].replace("_._", ".").replace("/", ".")
            tensors[f"{module}.{LEAVES[match['leaf']]}"] = _tensor(path, name, item)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(visit)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):
        raise CheckpointError(f"{path.name} is broken or cut short") from None
    return tensors


def _tensor(path: Path, name: str, item: Any) -> StoredTensor:
    import h5py

    kind = KINDS.get(item.dtype.name)
    if kind is None:
        raise CheckpointError(f"{path.name}: {name} is {item.dtype.name}; floats are needed")
    if item.external or item.is_virtual or item.size * item.dtype.itemsize > path.stat().st_size:
        raise CheckpointError(f"{path.name}: {name} is not in the file itself, or compressed")
    shape = tuple(item.shape)
    flat = shape[1:] if len(shape) == 2 and shape[0] == 1 else shape  # a bias of Conv1D

    def load() -> Floats:
        with h5py.File(path, "r") as file:
            return to_float32(np.asarray(file[name]), kind).reshape(flat)

    return StoredTensor(flat, kind, load)
