"""Chooses the reader by what lies there."""

from __future__ import annotations

from pathlib import Path

from archive.errors import CheckpointError
from archive.formats.safetensors_file import read_safetensors, read_shards
from archive.formats.tensors import StoredModel, StoredTensor
from archive.reading import read_json


def open_stored(path: Path) -> StoredModel:
    """Return the checkpoint in a directory, or in one file, as it lies there.

    Raises CheckpointError, which names the file and what to do, if none is there that can be read.
    """
    tensors, kind = _weights(path)
    return StoredModel(kind, read_json(path / "config.json"), tensors, path)


def _weights(directory: Path) -> tuple[dict[str, StoredTensor], str]:
    single = directory / "model.safetensors"
    if single.is_file():
        return read_safetensors(single), "safetensors"
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        return read_shards(index), "safetensors in shards"
    if list(directory.glob("*.bin")) or list(directory.glob("*.pt")):
        raise CheckpointError(
            "the weights are pickle files, which are never loaded: "
            "save them with save_pretrained(..., safe_serialization=True)"
        )
    raise CheckpointError("no model.safetensors in the checkpoint")
