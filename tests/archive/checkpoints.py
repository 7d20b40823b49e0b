"""Checkpoints for the tests: small random ones, and twins of a real one with outliers."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from archive.checkpoint import Checkpoint, Weights, read_shape, weight_shapes
from handler.engine.model import ModelShape

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED_MODEL = ROOT / "models" / "gpt2-tales"
EMBEDDED_VOCABULARY = int(json.loads((EMBEDDED_MODEL / "config.json").read_text())["vocab_size"])

TINY = {
    "model_type": "gpt2",
    "architectures": ["GPT2LMHeadModel"],
    "n_layer": 2,
    "n_head": 4,
    "n_embd": 128,
    "n_positions": 256,
    "vocab_size": EMBEDDED_VOCABULARY,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


def random_weights(shape: ModelShape, seed: int = 0) -> Weights:
    """Weights as a GPT-2 before training has them, gains and biases a little off one and zero."""
    generator = np.random.default_rng(seed)
    weights = {}
    for name, dimensions in weight_shapes(shape).items():
        values = generator.standard_normal(dimensions, dtype=np.float32) * np.float32(0.05)
        weights[name] = values + 1 if ".ln_" in f".{name}" and name.endswith("weight") else values
    return weights


def write_checkpoint(directory: Path, prefix: str = "", **settings: Any) -> Weights:
    """Write a random checkpoint with the embedded model's tokenizer; returns its weights."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(TINY | settings))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(EMBEDDED_MODEL / name, directory / name)
    weights = random_weights(read_shape(directory))
    named = {prefix + name: value for name, value in weights.items()}
    save_file(named, directory / "model.safetensors", metadata={"format": "pt"})
    return weights


def twin_with_outliers(checkpoint: Checkpoint, factor: float) -> Checkpoint:
    """The same function, with two channels of every LayerNorm's output `factor` times as large."""
    weights = {name: weight.copy() for name, weight in checkpoint.weights.items()}
    weights["lm_head.weight"] = weights["wte.weight"].copy()
    channels = [3, 77]
    for layer in range(checkpoint.shape.layers):
        for norm, product in (("ln_1", "attn.c_attn"), ("ln_2", "mlp.c_fc")):
            for kind in ("weight", "bias"):
                weights[f"h.{layer}.{norm}.{kind}"][channels] *= factor
            weights[f"h.{layer}.{product}.weight"][channels] /= factor
    for kind in ("weight", "bias"):
        weights[f"ln_f.{kind}"][channels] *= factor
    weights["lm_head.weight"][:, channels] /= factor
    return replace(checkpoint, weights=weights, shape=replace(checkpoint.shape, tied_head=False))


def twin_with_loud_units(checkpoint: Checkpoint, loudness: float) -> Checkpoint:
    """A twin in which one unit a layer always says `loudness` after GELU, where nothing folds it.

    The output's bias takes it away again.
    """
    weights = {name: weight.copy() for name, weight in checkpoint.weights.items()}
    for layer in range(checkpoint.shape.layers):
        block = f"h.{layer}.mlp"
        weights[f"{block}.c_fc.weight"][:, 5] = 0
        weights[f"{block}.c_fc.bias"][5] = loudness
        loud = loudness * weights[f"{block}.c_proj.weight"][5]
        weights[f"{block}.c_proj.bias"] -= loud
    return replace(checkpoint, weights=weights)


def twin_with_a_rare_shout(checkpoint: Checkpoint, layer: int, loudness: float) -> Checkpoint:
    """A twin in which one unit of a layer shouts for a few tokens in a thousand, and is not heard.

    It reads a direction in which LayerNorm's output is about normal, from 2.7 deviations on, and
    its row of the next product is zero: the range after GELU is stretched by few rows.
    """
    weights = {name: weight.copy() for name, weight in checkpoint.weights.items()}
    width, block = checkpoint.shape.width, f"h.{layer}"
    signs = np.random.default_rng(0).choice([-1.0, 1.0], width).astype(np.float32)
    gain, bias = weights[f"{block}.ln_2.weight"], weights[f"{block}.ln_2.bias"]
    direction = signs / gain / np.float32(width**0.5)
    weights[f"{block}.mlp.c_fc.weight"][:, 5] = loudness * direction
    weights[f"{block}.mlp.c_fc.bias"][5] = -loudness * (direction @ bias + 2.7)
    weights[f"{block}.mlp.c_proj.weight"][5] = 0
    return replace(checkpoint, weights=weights)
