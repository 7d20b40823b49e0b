"""Shards of TensorFlow and Flax, as transformers cut large models: read as the whole file is."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from archive.checkpoint import open_checkpoint
from archive.errors import CheckpointError
from tests.archive.test_checkpoint_layouts import MADE
from tests.archive.test_convert_group import put_letters


def keras_shards(whole: Path) -> list[Path]:
    """As TFPreTrainedModel.save_pretrained does: datasets by their names without the model's."""
    names: list[str] = []
    with h5py.File(whole) as file:
        file.visititems(
            lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
        )
        values = {name: np.asarray(file[name]) for name in names}
    shards = [whole.with_name(f"tf_model-0000{number}-of-00002.h5") for number in (1, 2)]
    for place, shard in enumerate(shards):
        with h5py.File(shard, "w") as file:
            for name in names[place::2]:
                outer = name.split("/")
                file.create_dataset(
                    "/".join(outer[outer.index("transformer", 1) :]), data=values[name]
                )
    return shards


def flax_shards(whole: Path) -> list[Path]:
    """As FlaxPreTrainedModel.save_pretrained does: a tree in each, of a part of the arrays."""
    found = open_checkpoint(whole.parent, "whole").weights
    trees: list[dict[str, Any]] = [{}, {}]
    for place, (name, weight) in enumerate(found.items()):
        *parents, leaf = name.split(".")
        kind = {"wte": "embedding", "wpe": "embedding"}.get(parents[-1], "kernel")
        kind = "scale" if parents[-1].startswith("ln_") else kind
        tree = trees[place % 2].setdefault("transformer", {})
        for parent in parents:
            tree = tree.setdefault(parent, {})
        turned = np.ascontiguousarray(weight.T) if kind == "kernel" else weight
        tree["bias" if leaf == "bias" else kind] = turned
    shards = [whole.with_name(f"flax_model-0000{number}-of-00002.msgpack") for number in (1, 2)]
    for shard, tree in zip(shards, trees, strict=True):
        shard.write_bytes(packed(tree))
    return shards


def packed(value: Any) -> bytes:
    """Msgpack, as Flax writes a tree of arrays."""
    match value:
        case dict():
            pairs = (packed(name) + packed(part) for name, part in value.items())
            return b"\xdf" + struct.pack(">I", len(value)) + b"".join(pairs)
        case str():
            text = value.encode()
            return b"\xd9" + struct.pack("B", len(text)) + text
        case bytes():
            return b"\xc6" + struct.pack(">I", len(value)) + value
        case int():
            return b"\xce" + struct.pack(">I", value)
        case tuple():
            return b"\xdd" + struct.pack(">I", len(value)) + b"".join(map(packed, value))
        case _:
            array = packed((tuple(value.shape), value.dtype.name, value.tobytes()))
            return b"\xc9" + struct.pack(">IB", len(array), 1) + array


Cut = Callable[[Path], list[Path]]
KINDS: dict[str, tuple[str, Cut]] = {
    "keras": ("tf_model.h5", keras_shards),
    "flax": ("flax_model.msgpack", flax_shards),
}


@pytest.mark.parametrize("name", KINDS)
def test_shards_are_the_whole(tmp_path: Path, name: str) -> None:
    whole, cut = KINDS[name]
    shutil.copytree(MADE / name, tmp_path / "model")
    directory = tmp_path / "model"
    put_letters(directory)
    expected = dict(open_checkpoint(directory, "whole").weights)
    shards = cut(directory / whole)
    (directory / whole).unlink()
    index = {"metadata": {}, "weight_map": {shard.stem: shard.name for shard in shards}}
    (directory / f"{whole}.index.json").write_text(json.dumps(index))
    found = open_checkpoint(directory, "shards").weights
    assert found.keys() == expected.keys()
    for key, weight in expected.items():
        assert np.array_equal(found[key], weight), key
    shards[1].unlink()
    with pytest.raises(CheckpointError, match=f"{shards[1].name} is missing, and {whole}.index"):
        open_checkpoint(directory, "shards")
