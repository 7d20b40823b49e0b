"""The layout of a model's arrays as the C code reads them (model.h), and how weights come into it.

Everything here is exact or a single rounding of IEEE 754, so that the same checkpoint gives the
same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from handler.engine.model import ModelShape

Array = npt.NDArray[np.generic]
Floats = npt.NDArray[np.float32]

# Goes up when arrays of the same name hold something else.
LAYOUT = "1"
LANES = 16
PANEL = 32
# Seven bits: AVX2 adds two products of bytes in sixteen bits, and more would not be exact there.
WEIGHT_LIMIT = 63


def padded(size: int, multiple: int = LANES) -> int:
    """`size`, rounded up to a multiple."""
    return -(-size // multiple) * multiple


@dataclass(frozen=True)
class LinearArrays:
    """One weight matrix of K inputs and N outputs, packed.

    weight: int8 [N_pad / 32, K_pad / 4, 32, 4] or float32 [N_pad / 32, K_pad, 32]. scale: float32
    [N_pad], what one unit of a column is worth. sum: int32 [N_pad], its weights added up. bias:
    float32 [N_pad]. scale and sum are of no use for floats.
    """

    weight: npt.NDArray[np.int8] | Floats
    scale: Floats
    sum: npt.NDArray[np.int32]
    bias: Floats

    def named(self, prefix: str) -> Iterator[tuple[str, Array]]:
        """The arrays by name, as a file holds them."""
        for each in fields(self):
            yield f"{prefix}.{each.name}", getattr(self, each.name)


def pack_int8(weight: Floats, bias: Floats) -> LinearArrays:
    """Pack a matrix as signed bytes, one scale a column.

    Args:
        weight: float32 [K, N].
        bias: float32 [N].

    Raises:
        ValueError: A weight is not finite.
    """
    _check_finite(weight, bias)
    inputs, outputs = weight.shape
    largest = np.abs(weight).max(axis=0, initial=0.0)
    scale = np.where(largest > 0, largest / np.float32(WEIGHT_LIMIT), np.float32(1.0))
    scale = scale.astype(np.float32)
    units = np.rint(weight / scale).astype(np.int8)
    wide = np.zeros((padded(inputs), padded(outputs, PANEL)), np.int8)
    wide[:inputs, :outputs] = units
    packed = wide.reshape(wide.shape[0] // 4, 4, -1, PANEL).transpose(2, 0, 3, 1)
    return LinearArrays(
        weight=np.ascontiguousarray(packed),
        scale=_widened(scale, PANEL),
        sum=wide.sum(axis=0, dtype=np.int32),
        bias=_widened(bias, PANEL),
    )


def pack_float(weight: Floats, bias: Floats) -> LinearArrays:
    """Pack a matrix [K, N] as the floats that it holds.

    Raises:
        ValueError: A weight is not finite.
    """
    _check_finite(weight, bias)
    inputs, outputs = weight.shape
    wide = np.zeros((padded(inputs), padded(outputs, PANEL)), np.float32)
    wide[:inputs, :outputs] = weight
    packed = wide.reshape(wide.shape[0], -1, PANEL).transpose(1, 0, 2)
    width = wide.shape[1]
    return LinearArrays(
        weight=np.ascontiguousarray(packed),
        scale=np.ones(width, np.float32),
        sum=np.zeros(width, np.int32),
        bias=_widened(bias, PANEL),
    )


def widened(array: Array, multiple: int = LANES) -> Array:
    """`array` with zeros behind its last axis, up to a multiple."""
    missing = padded(array.shape[-1], multiple) - array.shape[-1]
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, missing)])


def _check_finite(*arrays: Floats) -> None:
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError("a weight is not finite")


def _widened(array: Floats, multiple: int) -> Floats:
    return widened(array, multiple).astype(np.float32)


def split_heads(weight: Floats, heads: int) -> Floats:
    """Give each head of the last axis [..., heads * channels] its own padded channels.

    Returns:
        float32 [..., heads * channels_pad].
    """
    each = weight.reshape(*weight.shape[:-1], heads, -1)
    return np.ascontiguousarray(widened(each).reshape(*weight.shape[:-1], -1), dtype=np.float32)


Packer = Callable[[Floats, Floats], LinearArrays]
PACKERS: Mapping[str, Packer] = {"int8": pack_int8, "float32": pack_float}
MATRICES = ("qkv", "projection", "expand", "contract", "head")


def pack_model(
    weights: Mapping[str, Floats], shape: ModelShape, precisions: Mapping[str, str]
) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of a model by name, one after another, as a file holds them.

    Args:
        weights: float32 arrays by the names of GPT2LMHeadModel, without `transformer.`; linear
            weights are [in, out], as GPT-2's Conv1D has them.
        shape: The model's sizes.
        precisions: "int8" or "float32" for each of MATRICES.

    Raises:
        ValueError: A weight is not finite.
    """
    packers = {name: PACKERS[precision] for name, precision in precisions.items()}
    tokens = weights["wte.weight"]
    _check_finite(tokens, weights["wpe.weight"])
    yield "token_embedding", widened(tokens.astype(np.float16))
    yield "position_embedding", widened(weights["wpe.weight"])
    for layer in range(shape.layers):
        yield from _pack_layer(weights, shape, packers, layer)
    yield "norm.gain", widened(weights["ln_f.weight"])
    yield "norm.bias", widened(weights["ln_f.bias"])
    head = tokens if shape.tied_head else weights["lm_head.weight"]
    no_bias = np.zeros(shape.vocab_size, np.float32)
    yield from packers["head"](np.ascontiguousarray(head.T), no_bias).named("head")


def _pack_layer(
    weights: Mapping[str, Floats], shape: ModelShape, packers: Mapping[str, Packer], layer: int
) -> Iterator[tuple[str, Array]]:
    def given(name: str) -> Floats:
        return weights[f"h.{layer}.{name}"]

    prefix = f"layer.{layer}"
    for number in (1, 2):
        yield f"{prefix}.norm_{number}.gain", widened(given(f"ln_{number}.weight"))
        yield f"{prefix}.norm_{number}.bias", widened(given(f"ln_{number}.bias"))
    # Queries, keys and values of all heads; the projection's inputs are padded in the same way.
    qkv = [
        np.concatenate(
            [split_heads(part, shape.heads) for part in np.split(given(name), 3, axis=-1)], axis=-1
        )
        for name in ("attn.c_attn.weight", "attn.c_attn.bias")
    ]
    projection = split_heads(np.ascontiguousarray(given("attn.c_proj.weight").T), shape.heads).T
    matrices = {
        "qkv": (qkv[0], qkv[1]),
        "projection": (projection, given("attn.c_proj.bias")),
        "expand": (given("mlp.c_fc.weight"), given("mlp.c_fc.bias")),
        "contract": (given("mlp.c_proj.weight"), given("mlp.c_proj.bias")),
    }
    for name, (weight, bias) in matrices.items():
        yield from packers[name](weight, bias).named(f"{prefix}.{name}")


def uniform(precision: str) -> dict[str, str]:
    """The same precision for every matrix."""
    return dict.fromkeys(MATRICES, precision)
