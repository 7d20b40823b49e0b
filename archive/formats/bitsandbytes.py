"""Weights that bitsandbytes made smaller, as the floats that it says they stand for.

int8 (LLM.int8): a row's bytes times its SCB / 127. nf4 and fp4: two numbers a byte, each an index
in a map of 16, times the absmax of its block, which may be bytes itself ("nested"). As
`model.dequantize()` of transformers does it, rounding to the type of the model included.
https://github.com/bitsandbytes-foundation/bitsandbytes
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archive.errors import CheckpointError
from archive.formats.tensors import Floats, StoredTensor

SCALES, FORMAT = ".SCB", ".weight_format"
ROWS = 0  # the only order that is kept in files since bitsandbytes 0.45
# What the library has for 1 / 127.
STEP = np.float32(7.874015718698502e-3)
STATE = re.compile(r"(?P<weight>.+)\.quant_state\.bitsandbytes__(?:nf4|fp4)")
PARTS = ("absmax", "quant_map", "nested_absmax", "nested_quant_map")
LARGEST_STATE = 10_000
MAP, NESTED_MAP = 16, 256
# Conv1D, which GPT-2 is made of, is kept as Linear is.
CONV1D = re.compile(r"\.(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight$")


def dequantised(tensors: Mapping[str, StoredTensor]) -> tuple[dict[str, StoredTensor], str | None]:
    """Return tensors with those of bitsandbytes as floats, and what they were, if there are any.

    Raises CheckpointError if parts of one are missing or do not fit each other.
    """
    found = dict(tensors)
    bytes_each = [name for name in tensors if name.endswith(SCALES)]
    for name in bytes_each:
        _replace_bytes(found, name.removesuffix(SCALES))
    states = [(name, match["weight"]) for name in tensors if (match := STATE.fullmatch(name))]
    for state, weight in states:
        _replace_nibbles(found, state, weight)
    kinds = {state.rpartition("__")[2] for state, _ in states} | ({"int8"} if bytes_each else set())
    return found, " and ".join(sorted(kinds)) or None


def _replace_bytes(found: dict[str, StoredTensor], module: str) -> None:
    name = f"{module}.weight"
    scales, order = found.pop(module + SCALES), found.pop(module + FORMAT, None)
    weight = found.get(name)
    if weight is None or len(weight.shape) != 2 or scales.shape != weight.shape[:1]:
        raise CheckpointError(f"{module}{SCALES} does not fit {name}: the checkpoint is broken")
    if weight.dtype != "I8":
        raise CheckpointError(f"{name} is {weight.dtype}, and {module}{SCALES} says int8")
    if order is not None and (order.shape not in ((), (1,)) or order.read().item() != ROWS):
        raise CheckpointError(
            f"{module}{FORMAT} is of a GPU's own order: save the model with a newer bitsandbytes"
        )
    bytes_ = weight

    def load() -> Floats:
        return bytes_.read() * scales.read()[:, None] * STEP

    found[name] = _as_conv1d(name, StoredTensor(weight.shape, "F32", load))


def _replace_nibbles(found: dict[str, StoredTensor], state: str, name: str) -> None:
    says = _state(found.pop(state), name)
    parts = {part: found.pop(f"{name}.{part}", None) for part in PARTS}
    packed = found.get(name)
    shape, block = says["shape"], says["blocksize"]
    count = prod(shape)
    absmax, quant_map = parts["absmax"], parts["quant_map"]
    if packed is None or absmax is None or quant_map is None:
        raise CheckpointError(f"{name} lacks what 4-bit weights need: absmax and quant_map")
    nested = (parts["nested_absmax"], parts["nested_quant_map"])
    fits = (
        prod(packed.shape) == -(-count // 2)
        and prod(absmax.shape) == -(-count // block)
        and prod(quant_map.shape) == MAP
        and packed.dtype == "U8"
    )
    inner, inner_map = nested
    if inner is not None and inner_map is not None:
        inner_block = says["nested_blocksize"]
        fits &= prod(inner.shape) == -(-prod(absmax.shape) // inner_block)
        fits &= prod(inner_map.shape) == NESTED_MAP
    if not fits or (inner is None) != (inner_map is None):
        raise CheckpointError(f"{name} does not fit its quant_state: the checkpoint is broken")
    stored = packed

    def scales() -> Floats:
        values = absmax.read().reshape(-1)
        if inner is None or inner_map is None:
            return values
        found = inner_map.read().reshape(-1)[values.astype(np.uint8)]
        blocks = np.repeat(inner.read().reshape(-1), says["nested_blocksize"])
        return found * blocks[: len(found)] + np.float32(says["nested_offset"])

    def load() -> Floats:
        bytes_ = stored.read().reshape(-1).astype(np.uint8)
        indices = np.stack((bytes_ >> 4, bytes_ & 0x0F), axis=1).reshape(-1)[:count]
        values = quant_map.read().reshape(-1)[indices]
        values *= np.repeat(scales(), block)[:count]
        return _rounded(values, says["dtype"]).reshape(shape)

    found[name] = _as_conv1d(name, StoredTensor(shape, "F32", load))


def _state(tensor: StoredTensor, name: str) -> dict[str, Any]:
    """The JSON that lies in a tensor of bytes, checked."""
    broken = CheckpointError(f"{name}: its quant_state is broken")
    if len(tensor.shape) != 1 or tensor.dtype != "U8" or tensor.shape[0] > LARGEST_STATE:
        raise broken
    try:
        says = json.loads(tensor.read().astype(np.uint8).tobytes())
        shape = tuple(says["shape"])
        numbers = [*shape, says["blocksize"], says.get("nested_blocksize", 1)]
        offset = float(says.get("nested_offset", 0.0))
        dtype = str(says["dtype"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise broken from None
    if len(shape) != 2 or not all(type(number) is int and number > 0 for number in numbers):
        raise broken
    if dtype not in ("float32", "float16", "bfloat16"):
        raise broken
    return {
        "shape": shape,
        "blocksize": says["blocksize"],
        "nested_blocksize": says.get("nested_blocksize", 1),
        "nested_offset": offset,
        "dtype": dtype,
    }


def _rounded(values: Floats, dtype: str) -> Floats:
    """The nearest numbers of a type, the even one of two."""
    if dtype == "float16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).astype(np.float32)
    if dtype == "bfloat16":
        bits: NDArray[np.uint32] = values.view(np.uint32)
        bits = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        return (bits & np.uint32(0xFFFF0000)).view(np.float32)
    return values


def _as_conv1d(name: str, tensor: StoredTensor) -> StoredTensor:
    return tensor.transposed() if CONV1D.search(name) else tensor
