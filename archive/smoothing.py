"""SmoothQuant: moves outliers of activations into weights, where a scale per column meets them.

Xiao et al. 2022: channel j of a product's input is divided by max|x_j|^a / max|w_j|^(1 - a) and the
weight's row j multiplied by it. The division costs nothing at run time: it goes into the LayerNorm
before, or into the columns of the values before the attention's output product. What follows GELU
cannot be folded and stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive.checkpoint import ModelShape, Weights

Channels = NDArray[np.float32]

STRENGTH = 0.5


def smoothing_factors(
    shape: ModelShape, weights: Weights, largest_inputs: Mapping[str, Channels]
) -> dict[str, Channels]:
    """Return what the channels of each foldable product's input are to be divided by.

    `largest_inputs` holds max|x| per channel by the product's name.
    """
    factors = {}
    for layer in range(shape.n_layer):
        for product in ("attn.c_attn", "attn.c_proj", "mlp.c_fc"):
            name = f"h.{layer}.{product}"
            factors[name] = _factor(largest_inputs[name], weights[f"{name}.weight"])
    factors["lm_head"] = _factor(largest_inputs["lm_head"], head_weight(weights))
    return factors


def head_weight(weights: Weights) -> NDArray[np.float32]:
    """Return the head as [width, vocabulary], from the embedding if it is tied."""
    return weights.get("lm_head.weight", weights["wte.weight"]).T


def _factor(largest_input: Channels, weight: NDArray[np.float32]) -> Channels:
    largest_weight = np.abs(weight).max(axis=1)
    usable = (largest_input > 0) & (largest_weight > 0)
    inputs, rows = np.where(usable, largest_input, 1.0), np.where(usable, largest_weight, 1.0)
    factor = inputs**STRENGTH / rows ** (1 - STRENGTH)
    return np.asarray(factor, dtype=np.float32)


def smooth(shape: ModelShape, weights: Weights, factors: Mapping[str, Channels]) -> Weights:
    """Return weights of the same function with `factors` folded in; the head becomes untied."""
    smoothed = dict(weights)

    def scale(name: str, factor: NDArray[np.floating[Any]]) -> None:
        smoothed[name] = np.asarray(smoothed[name] * factor, dtype=np.float32)

    for layer in range(shape.n_layer):
        block = f"h.{layer}"
        for norm, product in (("ln_1", "attn.c_attn"), ("ln_2", "mlp.c_fc")):
            factor = factors[f"{block}.{product}"]
            scale(f"{block}.{norm}.weight", 1 / factor)
            scale(f"{block}.{norm}.bias", 1 / factor)
            scale(f"{block}.{product}.weight", factor[:, None])
        factor = factors[f"{block}.attn.c_proj"]
        columns = np.ones(3 * shape.n_embd, np.float32)
        columns[2 * shape.n_embd :] = 1 / factor
        scale(f"{block}.attn.c_attn.weight", columns)
        scale(f"{block}.attn.c_attn.bias", columns)
        scale(f"{block}.attn.c_proj.weight", factor[:, None])
    factor = factors["lm_head"]
    scale("ln_f.weight", 1 / factor)
    scale("ln_f.bias", 1 / factor)
    smoothed["lm_head.weight"] = head_weight(weights).T * factor
    return smoothed
