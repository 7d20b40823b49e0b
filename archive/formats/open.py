"""Chooses the reader of a checkpoint by its format: by how a file begins, else by its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from archive.errors import CheckpointError
from archive.formats.bitsandbytes import dequantised
from archive.formats.content import pattern_of
from archive.formats.elsewhere import (
    nested_checkpoints,
    refuse_beside,
    refuse_known,
    refuse_several,
    unpacked_cache,
)
from archive.formats.gguf_file import read_gguf
from archive.formats.keras_file import read_keras
from archive.formats.llm_c import is_llm_c, read_llm_c
from archive.formats.lora import find_adapter, merge_adapter, split_off
from archive.formats.mingpt import is_mingpt_of_2020, read_mingpt_of_2020
from archive.formats.msgpack_file import read_flax
from archive.formats.nanogpt import (
    letters_directory,
    mingpt_config,
    training_config,
    usual_tokenizer,
)
from archive.formats.safetensors_file import read_safetensors, read_shards, shards_of
from archive.formats.tensorflow_file import newest_index, read_tensorflow
from archive.formats.tensors import StoredModel, StoredTensor
from archive.formats.torch_file import read_torch
from archive.reading import read_json

Reader = Callable[[Path], StoredModel]


def open_stored(path: Path, base: Path | None = None) -> StoredModel:
    """Return the checkpoint in a directory, or in one file, as it lies there.

    `base` is where the model lies that an adapter changes.

    Raises CheckpointError, which names the file and what to do, if none is there that can be read.
    """
    path = unpacked_cache(path)
    if not path.is_file() and not path.is_dir():
        raise CheckpointError(f"{path.name} is neither a file nor a directory")
    adapter = find_adapter(path)
    if adapter is not None:
        if base is None:
            raise CheckpointError(f"{adapter.name} is an adapter: give its model with --base")
        return merge_adapter(adapter, open_stored(base), _adapter_tensors(adapter))
    if path.is_file():
        refuse_beside(path)
    file = path if path.is_file() else find_weights(path)
    refuse_known(file)
    named = file.name if file.name.endswith(".index") else pattern_of(file) or file.name
    for pattern, reader in READERS:
        if Path(named).match(pattern):
            return _as_floats(file, replace(reader(file), file=file.name))
    raise CheckpointError(
        f"{file.name} has a name that no known format uses; known are "
        f"{', '.join(pattern for pattern, _ in READERS)}"
    )


def _as_floats(file: Path, stored: StoredModel) -> StoredModel:
    """What bitsandbytes made smaller as floats, and factors of LoRA among the weights merged."""
    tensors, made_by = dequantised(stored.tensors)
    if made_by is not None:
        remark = f"the weights are {made_by} of bitsandbytes: the floats that they stand for"
        stored = replace(stored, tensors=tensors, remarks=(*stored.remarks, remark))
    weights, factors = split_off(stored.tensors)
    if factors and (file.parent / "adapter_config.json").is_file():
        return merge_adapter(file, replace(stored, tensors=weights), factors)
    return stored  # what is left of factors is refused by name, with the names of all tensors


def find_weights(directory: Path) -> Path:
    """Return the file of weights in a directory; of several formats, transformers' choice.

    Raises CheckpointError if there is none, or if it is open which is meant.
    """
    for name in CERTAIN:
        if (directory / name).is_file():
            return directory / name
        if (directory / name).is_symlink():
            raise CheckpointError(f"{name} is a link to what is not there: download it again")
    variants = sorted(path for pattern in VARIANTS for path in directory.glob(pattern))
    if len(variants) == 1:
        return variants[0]
    index = newest_index(directory)
    if index is not None:
        return index
    found = sorted(
        path
        for path in directory.iterdir()
        if path.is_file() and any(path.match(pattern) for pattern in UNCERTAIN)
    )
    found = [path for path in found if not any(path.match(pattern) for pattern in OTHERS)]
    if len(found) == 1:
        return found[0]
    if found:
        refuse_several(found)
    inner = nested_checkpoints(directory)
    if inner:
        raise CheckpointError(
            f"no weights in the directory itself: name one of its checkpoints with --model, such "
            f"as {directory.name}/{inner[-1]}"
        )
    for other in sorted(directory.iterdir()):
        refuse_known(other)
    raise CheckpointError("no model.safetensors in the checkpoint and no weights in another format")


def _open_safetensors(path: Path) -> StoredModel:
    return StoredModel("safetensors", _config(path.parent), read_safetensors(path), path.parent)


def _open_shards(index: Path) -> StoredModel:
    directory = index.parent
    return StoredModel("safetensors in shards", _config(directory), read_shards(index), directory)


def _open_torch(path: Path) -> StoredModel:
    return read_llm_c(path) if is_llm_c(path) else _from_torch(path, [path])


def _open_keras(path: Path) -> StoredModel:
    tensors = _of_all(read_keras, path)
    return StoredModel("tf_model.h5", _config(path.parent), tensors, path.parent)


def _open_flax(path: Path) -> StoredModel:
    return StoredModel("Flax", _config(path.parent), _of_all(read_flax, path), path.parent)


def _of_all(read: Callable[[Path], dict[str, StoredTensor]], path: Path) -> dict[str, StoredTensor]:
    """The tensors of a file, or of all that an index names."""
    files = shards_of(path) if path.name.endswith(".index.json") else [path]
    return {name: tensor for file in files for name, tensor in read(file).items()}


def _open_torch_shards(index: Path) -> StoredModel:
    return _from_torch(index, shards_of(index))


def _from_torch(path: Path, files: list[Path]) -> StoredModel:
    content = read_torch(files)
    if is_mingpt_of_2020(content.tensors):
        tensors, config = read_mingpt_of_2020(path, content.tensors)
        own = usual_tokenizer(config)
        name = f"{path.name} of minGPT, of before 2022"
        return StoredModel(name, config, tensors, path.parent, tokenizer=own)
    found, kind = training_config(content.configs), "nanoGPT"
    if found is not None:
        kind = kind if "model_args" in content.configs else "build-nanogpt"
    else:
        found = mingpt_config(_config(path.parent), content.tensors)
        kind = "minGPT"
    if found is None:
        config = _config(path.parent)
        return StoredModel(f"{path.name} of PyTorch", config, content.tensors, path.parent)
    return StoredModel(
        f"{path.name} of {kind}",
        found,
        content.tensors,
        path.parent,
        tokenizer=usual_tokenizer(found),
        tokenizer_directory=letters_directory(path.parent, content.configs),
    )


def _adapter_tensors(file: Path) -> dict[str, StoredTensor]:
    return read_torch([file]).tensors if file.suffix == ".bin" else read_safetensors(file)


def _config(directory: Path) -> dict[str, Any]:
    path = directory / "config.json"
    if not path.exists():
        raise CheckpointError(
            "no config.json in the checkpoint: copy it from the model that it was trained from, or "
            "save the model with model.save_pretrained(DIR)"
        )
    return read_json(path)


# By the pattern of a file's name; the first that fits.
READERS: tuple[tuple[str, Reader], ...] = (
    ("*.safetensors.index.json", _open_shards),
    ("*.safetensors.index.*.json", _open_shards),
    ("*.safetensors", _open_safetensors),
    ("*.bin.index.json", _open_torch_shards),
    ("*.bin.index.*.json", _open_torch_shards),
    ("*.bin", _open_torch),
    ("*.pt", _open_torch),
    ("*.pth", _open_torch),
    ("*.ckpt", _open_torch),
    ("*.pkl", _open_torch),
    ("*.gguf", read_gguf),
    ("*.h5", _open_keras),
    ("*.h5.index.json", _open_keras),
    ("*.msgpack", _open_flax),
    ("*.msgpack.index.json", _open_flax),
    ("*.index", read_tensorflow),
)
# In a directory, the names that leave no doubt, in transformers' order.
CERTAIN = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    "tf_model.h5.index.json",
    "flax_model.msgpack",
    "flax_model.msgpack.index.json",
)
UNCERTAIN = ("*.safetensors", "*.gguf", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.bin")
# Indexes of shards in another precision ("variant"), as save_pretrained names them.
VARIANTS = ("*.safetensors.index.*.json", "*.bin.index.*.json")
# Of a trainer, beside the weights.
OTHERS = (
    *("optimizer*.pt", "scheduler*.pt", "scaler*.pt", "training_args.bin", "optimizer*.bin"),
    *("scheduler*.bin", "sampler*.bin", "rng_state*.pth", "optimizer*.pth", "random_states_*.pkl"),
    *("optim*.pt", "dl_state_dict*.bin", "custom_checkpoint_*.pkl", "training_args.pt"),
    *("meta.pkl", "vocab.pkl"),  # of nanoGPT and others: its characters
)
