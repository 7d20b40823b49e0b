"""A checkpoint's weights as the arrays that the C code reads (model.h), one after another.

Everything here is exact or a single rounding of IEEE 754, so that the same checkpoint gives the
same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from handler.engine.model import ModelShape
from handler.engine.native.matrices import (
    PACKERS,
    Array,
    Floats,
    Packer,
    check_finite,
    widened,
)

# Goes up when arrays of the same name hold something else.
LAYOUT = "1"
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
    check_finite(tokens, positions)
    kept = tokens
    if token_precision(precisions) == "float16":
        with np.errstate(over="ignore"):
            kept = tokens.astype(np.float16)
        if not np.isfinite(kept).all():
            raise ValueError(
                "wte.weight has values beyond 65,504, which half precision cannot hold"
            )
    yield "token_embedding", widened(kept)
    yield "position_embedding", widened(positions)


def token_precision(precisions: Mapping[str, str]) -> str:
    """In what the token embedding is kept: floats where the head is, which often is the same."""
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


def split_heads(weight: Floats, heads: int) -> Floats:
    """Give each head of the last axis [..., heads * channels] its own padded channels.

    Returns:
        float32 [..., heads * channels_pad].
    """
    each = weight.reshape(*weight.shape[:-1], heads, -1)
    return np.ascontiguousarray(widened(each).reshape(*weight.shape[:-1], -1), dtype=np.float32)


def _split_qkv(array: Floats, heads: int) -> Floats:
    parts = [split_heads(part, heads) for part in np.split(array, 3, axis=-1)]
    return np.concatenate(parts, axis=-1)


def uniform(precision: str) -> dict[str, str]:
    """The same precision for every matrix."""
    return dict.fromkeys(MATRICES, precision)
