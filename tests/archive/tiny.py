"""The tiny model of which all checkpoints here are made, and its weights by other names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from archive.checkpoint import read_shape
from tests.archive.checkpoints import TINY, random_weights

Arrays = dict[str, NDArray[Any]]
Json = dict[str, Any]
Write = Callable[[Path, Arrays], None]
HUB = "https://huggingface.co/"
GITHUB = "https://github.com/"


def tiny_config(**changes: Any) -> Json:
    return {**TINY, "n_embd": 48, "n_positions": 64, **changes}


def tiny_weights(directory: Path, **changes: Any) -> Arrays:
    """Weights of which every one is exact in each half: seven bits of it."""
    (directory / "config.json").write_text(json.dumps(tiny_config(**changes)))
    weights = random_weights(read_shape(directory))
    # Gains lie around one, all else around zero.
    units = {name: 64 if weight.mean() > 0.5 else 512 for name, weight in weights.items()}
    return {
        name: np.rint(weight * units[name]).clip(-127, 127).astype(np.float32) / units[name]
        for name, weight in weights.items()
    }


def full(weights: Arrays) -> Arrays:
    """By GPT2LMHeadModel's own names."""
    return {name if name.startswith("lm_head") else f"transformer.{name}": weight
            for name, weight in weights.items()}  # fmt: skip


def tensors(arrays: Arrays, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(array, dtype=dtype) for name, array in arrays.items()}


def masks(prefix: str = "") -> Arrays:
    mask = np.tril(np.ones((1, 1, 64, 64), np.float32))
    found: Arrays = {f"{prefix}h.{layer}.attn.bias": mask for layer in range(2)}
    return found | {
        f"{prefix}h.{i}.attn.masked_bias": np.full((), -1e4, np.float32) for i in (0, 1)
    }


def turned(weights: Arrays) -> Arrays:
    """Matrices [out, in], as nn.Linear has them."""
    parts = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    return {name: np.ascontiguousarray(weight.T) if name.endswith(parts) else weight
            for name, weight in weights.items()}  # fmt: skip


def doubled(weights: Arrays) -> Arrays:
    return full(weights) | {"lm_head.weight": weights["wte.weight"]}


def head_alone(weights: Arrays) -> Arrays:
    rest = {name: weight for name, weight in full(weights).items() if "wte" not in name}
    return rest | {"lm_head.weight": weights["wte.weight"]}


def with_heads(weights: Arrays) -> Arrays:
    value = {"v_head.summary.weight": np.ones((1, 48), np.float32)}
    value |= {"multiple_choice_head.summary.weight": np.ones((1, 48), np.float32)}
    return doubled(weights) | value | {"score.weight": np.ones((2, 48), np.float32)}
