"""The layout of a model's arrays as the C code reads them (model.h), and how weights come into it.

Everything here is exact or a single rounding of IEEE 754, so that the same checkpoint gives the
same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from math import prod

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
# Inputs of a column that share a multiple, in four bits: see unpack.h.
GROUP = 16
LARGEST_MULTIPLE = 8
# A column of nothing larger becomes zeros: its scale would be no normal number.
SMALLEST = np.float32(1e-30)
# Columns that are rounded at a time, so that they stay in a core's cache.
BLOCK = 16 * PANEL


def padded(size: int, multiple: int = LANES) -> int:
    """`size`, rounded up to a multiple."""
    return -(-size // multiple) * multiple


@dataclass(frozen=True)
class LinearArrays:
    """One weight matrix of K inputs and N outputs, packed.

    weight: int8 [N_pad / 32, K_pad / 4, 32, 4], uint8 pairs [N_pad / 32, K_pad / 8, 32, 4] or
    float32 [N_pad / 32, K_pad, 32]. scale: float32 [N_pad], what one unit of a column is worth.
    sum: int32 [N_pad], its weights added up. bias: float32 [N_pad]. multiple: uint8
    [N_pad / 32, K_pad / 32, 32] beside pairs. scale and sum are of no use for floats.
    """

    weight: npt.NDArray[np.int8] | npt.NDArray[np.uint8] | Floats
    scale: Floats
    sum: npt.NDArray[np.int32]
    bias: Floats
    multiple: npt.NDArray[np.uint8] | None = None

    def named(self, prefix: str) -> Iterator[tuple[str, Array]]:
        """The arrays by name, as a file holds them."""
        for each in fields(self):
            array = getattr(self, each.name)
            if array is not None:
                yield f"{prefix}.{each.name}", array


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
    rows, columns = padded(inputs), padded(outputs, PANEL)
    packed = np.empty((columns // PANEL, rows // 4, PANEL, 4), np.int8)
    scale, sums = np.zeros(columns, np.float32), np.zeros(columns, np.int32)
    for start in range(0, outputs, BLOCK):
        block = np.array(weight[:, start : start + BLOCK], np.float32, order="C")
        end = start + block.shape[1]
        largest = np.maximum(block.max(axis=0), -block.min(axis=0))
        scale[start:end] = np.where(largest > SMALLEST, largest / np.float32(WEIGHT_LIMIT), 1.0)
        np.divide(block, scale[start:end], out=block)
        wide = np.zeros((rows, padded(end - start, PANEL)), np.int8)
        wide[:inputs, : end - start] = np.rint(block, out=block)
        sums[start : start + wide.shape[1]] = wide.sum(axis=0, dtype=np.int32)
        panels = wide.reshape(rows // 4, 4, -1, PANEL).transpose(2, 0, 3, 1)
        packed[start // PANEL : start // PANEL + len(panels)] = panels
    return LinearArrays(packed, scale, sums, _widened(bias, PANEL))


def pack_int4(weight: Floats, bias: Floats) -> LinearArrays:
    """Pack a matrix in four bits, each weight rounded by itself.

    Args:
        weight: float32 [K, N].
        bias: float32 [N].

    Raises:
        ValueError: A weight is not finite.
    """
    _check_finite(weight, bias)
    inputs, outputs = weight.shape
    rows = padded(inputs)
    whole = np.zeros((rows, outputs), np.float32)
    whole[:inputs] = weight
    groups = whole.reshape(rows // GROUP, GROUP, outputs)
    largest = np.maximum(groups.max(axis=1), -groups.min(axis=1))
    of_column = largest.max(axis=0)
    limit = np.float32(LARGEST_MULTIPLE * 7)
    scale = np.where(of_column > SMALLEST, of_column / limit, np.float32(1))
    multiple = np.clip(np.ceil(largest / (scale * np.float32(7))), 1, LARGEST_MULTIPLE)
    units = np.clip(np.rint(groups / (scale * multiple[:, None])), -8, 7)
    return pack_pairs(
        units.reshape(rows, outputs).astype(np.int8), multiple.astype(np.uint8), scale, bias
    )


def pack_pairs(
    units: npt.NDArray[np.int8], multiple: npt.NDArray[np.uint8], scale: Floats, bias: Floats
) -> LinearArrays:
    """Lay weights out that were rounded to four bits.

    Args:
        units: int8 [K_pad, N], -8 .. 7.
        multiple: uint8 [K_pad / 16, N], what a unit of a group is worth in units of its column.
        scale: float32 [N], what that is worth.
        bias: float32 [N].
    """
    rows, outputs = units.shape
    columns = padded(outputs, PANEL)
    nibbles = np.full((rows, columns), 8, np.uint8)
    np.add(units, np.int8(8), out=nibbles[:, :outputs], casting="unsafe")
    # [K_pad / 8, low or high, 4, panels, 32]
    eights = nibbles.reshape(rows // 8, 2, 4, columns // PANEL, PANEL)
    pairs = eights[:, 0] | eights[:, 1] << np.uint8(4)
    all_multiples = np.zeros((padded(len(multiple), 2), columns), np.uint8)
    all_multiples[: len(multiple), :outputs] = multiple
    multiples = all_multiples.reshape(-1, 2, columns // PANEL, PANEL)
    both = multiples[:, 0] | multiples[:, 1] << np.uint8(4)
    of_groups = units.reshape(-1, GROUP, outputs).sum(axis=1, dtype=np.int32)
    sums = np.zeros(columns, np.int32)
    sums[:outputs] = (of_groups * multiple).sum(axis=0, dtype=np.int32)
    scales = np.zeros(columns, np.float32)
    scales[:outputs] = scale
    return LinearArrays(
        np.ascontiguousarray(pairs.transpose(2, 0, 3, 1)),
        scales,
        sums,
        _widened(bias, PANEL),
        np.ascontiguousarray(both.transpose(1, 0, 2)),
    )


def pack_float(weight: Floats, bias: Floats) -> LinearArrays:
    """Pack a matrix [K, N] as the floats that it holds.

    Raises:
        ValueError: A weight is not finite.
    """
    _check_finite(weight, bias)
    inputs, outputs = weight.shape
    rows, columns = padded(inputs), padded(outputs, PANEL)
    packed = np.zeros((columns // PANEL, rows, PANEL), np.float32)
    for start in range(0, outputs, PANEL):
        block = weight[:, start : start + PANEL]
        packed[start // PANEL, :inputs, : block.shape[1]] = block
    return LinearArrays(
        packed, np.ones(columns, np.float32), np.zeros(columns, np.int32), _widened(bias, PANEL)
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
PACKERS: Mapping[str, Packer] = {"int8": pack_int8, "int4": pack_int4, "float32": pack_float}
# A layer's matrices, and what GPT2LMHeadModel calls them.
SOURCES = {
    "qkv": "attn.c_attn",
    "projection": "attn.c_proj",
    "expand": "mlp.c_fc",
    "contract": "mlp.c_proj",
}
MATRICES = (*SOURCES, "head")


def pack_model(
    weights: Mapping[str, Floats], shape: ModelShape, precisions: Mapping[str, str]
) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of a model by name, one after another, as a file holds them.

    Args:
        weights: float32 arrays by the names of GPT2LMHeadModel, without `transformer.`; linear
            weights are [in, out], as GPT-2's Conv1D has them. Each is asked for once or twice.
        shape: The model's sizes.
        precisions: "int8", "int4" or "float32" for each of MATRICES.

    Raises:
        ValueError: A weight is not finite.
    """
    yield from pack_embeddings(weights, precisions)
    for layer in range(shape.layers):
        yield from pack_layer(weights, shape, precisions, layer, f"layer.{layer}")
    yield from pack_head(weights, shape, precisions)


def pack_embeddings(
    weights: Mapping[str, Floats], precisions: Mapping[str, str]
) -> Iterator[tuple[str, Array]]:
    """Yield what a token and its position are before the first layer.

    Tokens are in half precision, or in floats where the head is, which often has the same weights.

    Raises:
        ValueError: A weight is not finite, or too large for half precision.
    """
    tokens, positions = weights["wte.weight"], weights["wpe.weight"]
    _check_finite(tokens, positions)
    kept = tokens
    if _token_precision(precisions) == "float16":
        with np.errstate(over="ignore"):
            kept = tokens.astype(np.float16)
        if not np.isfinite(kept).all():
            raise ValueError(
                "wte.weight has values beyond 65,504, which half precision cannot hold"
            )
    yield "token_embedding", widened(kept)
    yield "position_embedding", widened(positions)


def _token_precision(precisions: Mapping[str, str]) -> str:
    return "float32" if precisions["head"] == "float32" else "float16"


def pack_head(
    weights: Mapping[str, Floats],
    shape: ModelShape,
    precisions: Mapping[str, str],
    packers: Mapping[str, Packer] | None = None,
) -> Iterator[tuple[str, Array]]:
    """Yield the last LayerNorm and the head, which may be the embedding; see `pack_layer`."""
    yield "norm.gain", widened(weights["ln_f.weight"])
    yield "norm.bias", widened(weights["ln_f.bias"])
    head = weights["wte.weight" if shape.tied_head else "lm_head.weight"]
    no_bias = np.zeros(shape.vocab_size, np.float32)
    pack = (packers or {}).get("head") or PACKERS[precisions["head"]]
    yield from pack(head.T, no_bias).named("head")


def pack_layer(
    weights: Mapping[str, Floats],
    shape: ModelShape,
    precisions: Mapping[str, str],
    layer: int,
    prefix: str,
    packers: Mapping[str, Packer] | None = None,
) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of one layer, under names that begin with `prefix`.

    `packers` pack matrices in another way than PACKERS do.
    """
    chosen = packers or {}

    def given(name: str) -> Floats:
        return weights[f"h.{layer}.{name}"]

    for number in (1, 2):
        yield f"{prefix}.norm_{number}.gain", widened(given(f"ln_{number}.weight"))
        yield f"{prefix}.norm_{number}.bias", widened(given(f"ln_{number}.bias"))
    for name, source in SOURCES.items():
        weight, bias = given(f"{source}.weight"), given(f"{source}.bias")
        if name == "qkv":  # queries, keys and values of all heads
            weight, bias = _split_qkv(weight, shape.heads), _split_qkv(bias, shape.heads)
        if name == "projection":  # its inputs are padded in the same way
            weight = split_heads(np.ascontiguousarray(weight.T), shape.heads).T
        pack = chosen.get(name) or PACKERS[precisions[name]]
        yield from pack(weight, bias).named(f"{prefix}.{name}")


def _split_qkv(array: Floats, heads: int) -> Floats:
    parts = [split_heads(part, heads) for part in np.split(array, 3, axis=-1)]
    return np.concatenate(parts, axis=-1)


def uniform(precision: str) -> dict[str, str]:
    """The same precision for every matrix."""
    return dict.fromkeys(MATRICES, precision)


@dataclass(frozen=True)
class ArrayKind:
    """Type and shape of an array."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of it."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize


def model_arrays(shape: ModelShape, precisions: Mapping[str, str]) -> dict[str, ArrayKind]:
    """What `pack_model` yields, in its order."""
    width, inner = padded(shape.width), padded(shape.inner_width)
    heads = shape.heads * padded(shape.width // shape.heads)
    sizes = {
        "qkv": (width, 3 * heads),
        "projection": (heads, shape.width),
        "expand": (width, shape.inner_width),
        "contract": (inner, shape.width),
        "head": (width, shape.vocab_size),
    }
    kinds = {
        "token_embedding": ArrayKind(_token_precision(precisions), (shape.vocab_size, width)),
        "position_embedding": ArrayKind("float32", (shape.max_length, width)),
    }
    vector = ArrayKind("float32", (width,))
    for layer in range(shape.layers):
        prefix = f"layer.{layer}"
        kinds |= {f"{prefix}.norm_{n}.{part}": vector for n in (1, 2) for part in ("gain", "bias")}
        for name in SOURCES:
            kinds |= _linear_arrays(f"{prefix}.{name}", *sizes[name], precisions[name])
    kinds |= {"norm.gain": vector, "norm.bias": vector}
    return kinds | _linear_arrays("head", *sizes["head"], precisions["head"])


def _linear_arrays(name: str, inputs: int, outputs: int, precision: str) -> dict[str, ArrayKind]:
    columns = padded(outputs, PANEL)
    panels = columns // PANEL
    layout = {
        "int8": ArrayKind("int8", (panels, inputs // 4, PANEL, 4)),
        "int4": ArrayKind("uint8", (panels, inputs // 8, PANEL, 4)),
        "float32": ArrayKind("float32", (panels, inputs, PANEL)),
    }
    kinds = {
        f"{name}.weight": layout[precision],
        f"{name}.scale": ArrayKind("float32", (columns,)),
        f"{name}.sum": ArrayKind("int32", (columns,)),
        f"{name}.bias": ArrayKind("float32", (columns,)),
    }
    if precision == "int4":
        pairs = padded(inputs, 2 * GROUP) // (2 * GROUP)
        kinds[f"{name}.multiple"] = ArrayKind("uint8", (panels, pairs, PANEL))
    return kinds
