"""SmoothQuant: moves outliers of activations into weights, where a scale per column meets them.

Xiao et al. 2022, with a strength of 1/2: channel j of a product's input is divided by
sqrt(max|x_j| / max|w_j|) and the weight's row j multiplied by it. The division costs nothing at run
time: it goes into the LayerNorm before, or into the columns of the values before the attention's
output product. What follows GELU cannot be folded and stays as it is.

Square roots, quotients and products are exact to the last bit by IEEE 754, so that every machine
smooths alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from archive.checkpoint import Weights
from archive.layers import Arrays, FloatSource, Layerwise
from archive.progress import Progress
from archive.text import Tokens
from handler.engine.model import ModelShape
from handler.engine.native.matrices import Floats, padded
from handler.engine.native.weights import SOURCES

HEAD = "lm_head.weight"
ONE = np.float32(1)
# Matrices whose inputs can be divided, by the names of an archive's arrays.
FOLDABLE = ("qkv", "projection", "expand")


@dataclass(frozen=True)
class SmoothedWeights(Mapping[str, Floats]):
    """Weights of the same function without outliers; each is made when it is asked for.

    The head is no longer the embedding.
    """

    weights: Weights
    # What each weight is multiplied by, one after the other, broadcast over it.
    scales: Mapping[str, list[Floats]] = field(repr=False)

    def __getitem__(self, name: str) -> Floats:
        is_tied = name == HEAD and HEAD not in self.weights
        weight = self.weights["wte.weight" if is_tied else name]
        for scale in self.scales.get(name, ()):
            weight = weight * scale
        return weight

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self.weights), HEAD: None})

    def __len__(self) -> int:
        return len(dict.fromkeys([*self.weights, HEAD]))


def smooth(
    source: FloatSource, model: Layerwise, windows: list[Tokens], progress: Progress
) -> SmoothedWeights:
    """Watch what the matrices are fed with on `windows`, and move outliers into the weights.

    Args:
        source: The checkpoint's weights.
        model: What computes them.
        windows: Tokens, int64 [length] each.
        progress: Is advanced with each layer, and twice with the head.
    """
    shape = source.shape
    scales: dict[str, list[Floats]] = {}

    def prepare(arrays: Arrays) -> None:
        for name in FOLDABLE:
            arrays[f"layer.0.{name}.peaks"] = np.zeros(source.inputs(name), np.float32)

    def note(layer: int, arrays: Arrays) -> None:
        for name in FOLDABLE:
            peaks = _inputs(shape, name, np.asarray(arrays[f"layer.0.{name}.peaks"], np.float32))
            weight = f"h.{layer}.{SOURCES[name]}.weight"
            _fold(scales, shape, layer, name, _factor(peaks, source.weights[weight]))

    states = model.hidden(windows, progress, prepare, note)
    arrays = source.head() | {"head.peaks": np.zeros(padded(shape.width), np.float32)}
    model.head(arrays).watch(states)
    progress.advance(1)
    head = source.weights["wte.weight" if shape.tied_head else HEAD]
    factor = _factor(np.asarray(arrays["head.peaks"], np.float32)[: shape.width], head.T)
    scales |= {"ln_f.weight": [ONE / factor], "ln_f.bias": [ONE / factor], HEAD: [factor]}
    progress.advance(1)
    return SmoothedWeights(source.weights, scales)


def _inputs(shape: ModelShape, name: str, peaks: Floats) -> Floats:
    """The peaks of a matrix's inputs without those that only pad."""
    if name == "projection":
        peaks = peaks.reshape(shape.heads, -1)[:, : shape.width // shape.heads].ravel()
    return peaks[: shape.width]


def _factor(largest_input: Floats, weight: Floats) -> Floats:
    """What the channels [K] of a product's input are to be divided by; weight [K, N]."""
    largest_weight = np.maximum(weight.max(axis=1), -weight.min(axis=1))
    usable = (largest_input > 0) & (largest_weight > 0)
    inputs = np.where(usable, largest_input, ONE)
    return np.sqrt(inputs / np.where(usable, largest_weight, ONE))


def _fold(
    scales: dict[str, list[Floats]], shape: ModelShape, layer: int, name: str, factor: Floats
) -> None:
    """Note what a matrix's rows, and what comes before it, are multiplied by."""

    def scale(weight: str, by: Floats) -> None:
        scales.setdefault(f"h.{layer}.{weight}", []).append(by)

    scale(f"{SOURCES[name]}.weight", factor[:, None])
    if name == "projection":
        columns = np.ones(3 * shape.width, np.float32)
        columns[2 * shape.width :] = ONE / factor
        scale("attn.c_attn.weight", columns)
        scale("attn.c_attn.bias", columns)
        return
    norm = "ln_1" if name == "qkv" else "ln_2"
    scale(f"{norm}.weight", ONE / factor)
    scale(f"{norm}.bias", ONE / factor)
