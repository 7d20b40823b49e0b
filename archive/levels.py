"""Makes keys and values come out of their product as levels of a byte, to be rounded and no more.

A key's channel counts in steps of its own, and the query's channel is multiplied by that step:
q k = (q s) (k / s). Values of a layer count in one step, which goes into the rows of the product
behind the attention. So one scale, of 1, does for the whole cache, without the loss that one scale
for channels of different sizes would bring, and the operator is faster with one than with many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive.checkpoint import ModelShape, Weights
from archive.products import SMALLEST_SCALE
from archive.smoothing import Channels

LARGEST_LEVEL = 127  # of int8, the same both ways


@dataclass(frozen=True)
class Steps:
    """Between two levels of a layer: of each channel of the keys [width], and of all values."""

    keys: Channels
    values: np.float32


def cache_steps(
    shape: ModelShape, largest: Mapping[str, Channels], factors: Mapping[str, Channels]
) -> list[Steps]:
    """Return the steps at which each layer's keys and values fit signed bytes.

    `largest` holds, under `h.{layer}.attn.packed`, the largest magnitudes [3 * width] that the
    cache is to hold; `factors` what smoothing divides the values' channels by.
    """
    steps = []
    for layer in range(shape.n_layer):
        name = f"h.{layer}.attn"
        keys, values = np.split(largest[f"{name}.packed"], 3)[1:]
        keys = np.maximum(keys / LARGEST_LEVEL, SMALLEST_SCALE).astype(np.float32)
        widest = (values / factors[f"{name}.c_proj"]).max()
        steps.append(Steps(keys, np.float32(max(widest / LARGEST_LEVEL, SMALLEST_SCALE))))
    return steps


def count_in_levels(shape: ModelShape, weights: Weights, steps: Sequence[Steps]) -> Weights:
    """Return weights of the same function whose keys and values count in these steps."""
    counting = dict(weights)

    def scale(name: str, factor: NDArray[np.floating[Any]] | np.float32) -> None:
        counting[name] = np.asarray(counting[name] * factor, dtype=np.float32)

    for layer, step in enumerate(steps):
        name = f"h.{layer}.attn"
        values = np.full(shape.n_embd, 1 / step.values, np.float32)
        columns = np.concatenate([step.keys, 1 / step.keys, values])
        scale(f"{name}.c_attn.weight", columns)
        scale(f"{name}.c_attn.bias", columns)
        scale(f"{name}.c_proj.weight", step.values)
    return counting
