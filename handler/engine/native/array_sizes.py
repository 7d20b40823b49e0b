"""Type and shape of each of a model's arrays, before there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from handler.engine.model import ModelShape
from handler.engine.native.matrices import GROUP, PANEL, padded
from handler.engine.native.weights import SOURCES, token_precision


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
        "token_embedding": ArrayKind(token_precision(precisions), (shape.vocab_size, width)),
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
