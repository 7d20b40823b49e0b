"""minGPT before 2022: its own names, and queries, keys and values in a matrix each.

https://github.com/karpathy/minGPT/blob/3ed14b2/mingpt/model.py: exact GELU, a head of its own, and
the number of heads in nothing that is saved.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from archive.errors import CheckpointError
from archive.formats.nanogpt import gpt2_config, sizes
from archive.formats.tensors import StoredTensor
from archive.reading import read_json

WORDS, POSITIONS, HEAD = "tok_emb.weight", "pos_emb", "head.weight"
BLOCK = re.compile(r"blocks\.(?P<layer>\d+)\.(?P<module>.+)\.(?P<leaf>weight|bias)")
MODULES = {
    "ln1": "ln_1",
    "ln2": "ln_2",
    "attn.proj": "attn.c_proj",
    "mlp.0": "mlp.c_fc",
    "mlp.2": "mlp.c_proj",
}
# In the order in which c_attn has them.
FUSED = ("attn.query", "attn.key", "attn.value")
PLAIN = {WORDS: "wte.weight", HEAD: "lm_head.weight"}


def is_mingpt_of_2020(tensors: Mapping[str, StoredTensor]) -> bool:
    """Whether a state dict has minGPT's first names."""
    return any(name.endswith(WORDS) for name in tensors) and _prefix(tensors) is not None


def read_mingpt_of_2020(
    path: Path, tensors: Mapping[str, StoredTensor]
) -> tuple[dict[str, StoredTensor], dict[str, Any]]:
    """Return the tensors by GPT2LMHeadModel's names, and the config.

    Raises CheckpointError if no config.json says how many heads there are.
    """
    own = {name.removeprefix(_prefix(tensors) or ""): each for name, each in tensors.items()}
    found = {PLAIN.get(name, name): each for name, each in own.items() if name != POSITIONS}
    positions = own[POSITIONS]
    found["wpe.weight"] = positions.reshaped(positions.shape[-2:])
    for name, tensor in own.items():
        match = BLOCK.fullmatch(name)
        if match is None:
            continue
        layer, module, leaf = match["layer"], match["module"], match["leaf"]
        if module in MODULES:
            found[f"h.{layer}.{MODULES[module]}.{leaf}"] = tensor
        elif module == FUSED[0]:
            parts = [own.get(f"blocks.{layer}.{part}.{leaf}") for part in FUSED]
            found[f"h.{layer}.attn.c_attn.{leaf}"] = _fused(name, parts)
    found = {name: tensor for name, tensor in found.items() if not name.startswith("blocks.")}
    return found, _config(path, found)


def _prefix(tensors: Mapping[str, StoredTensor]) -> str | None:
    """What stands before all names, such as DataParallel's `module.`."""
    prefixes = (name.removesuffix(WORDS) for name in tensors if name.endswith(WORDS))
    return next((prefix for prefix in prefixes if prefix + POSITIONS in tensors), None)


def _fused(name: str, parts: list[StoredTensor | None]) -> StoredTensor:
    there = [part for part in parts if part is not None]
    if len(there) != len(FUSED) or len({part.shape for part in there}) != 1 or not there[0].shape:
        raise CheckpointError(f"{name} has no key and value beside it: the checkpoint is broken")
    first = there[0]
    shape = (len(FUSED) * first.shape[0], *first.shape[1:])
    return StoredTensor(shape, first.dtype, lambda: np.concatenate([each.read() for each in there]))


def _config(path: Path, found: Mapping[str, StoredTensor]) -> dict[str, Any]:
    file = path.parent / "config.json"
    heads = read_json(file).get("n_head") if file.is_file() else None
    if type(heads) is not int:
        raise CheckpointError(
            f"{path.name} is minGPT's from before 2022, and does not say how many heads it has: "
            'put a config.json beside it, such as {"n_head": 8}'
        )
    config = gpt2_config({**sizes(found), "n_head": heads}, "gelu")
    return config | {"tie_word_embeddings": False}
