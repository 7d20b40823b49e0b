"""Pointers to arrays, rows and results for the C code, checked before they are passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from handler.engine.errors import ModelError
from handler.engine.model import ModelShape
from handler.engine.native.matrices import GROUP, PANEL, Array, padded
from handler.engine.native.records import PRECISION_OF, PRECISIONS, Layer, Linear

Floats = npt.NDArray[np.float32]


class ArrayPointers:
    """Of the arrays of one model, which it keeps."""

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._arrays = arrays

    def layer(self, index: int, shape: ModelShape, channels: int) -> Layer:
        """A layer's, of heads that have so many channels."""
        prefix = f"layer.{index}"
        width, inner, heads = padded(shape.width), shape.inner_width, shape.heads * channels
        norms = [f"{prefix}.norm_{n}.{part}" for n in (1, 2) for part in ("gain", "bias")]
        return Layer(
            *(self.address(name, width) for name in norms),
            self.linear(f"{prefix}.qkv", width, 3 * heads),
            self.linear(f"{prefix}.projection", heads, shape.width),
            self.linear(f"{prefix}.expand", width, inner),
            self.linear(f"{prefix}.contract", padded(inner), shape.width),
            shape.attention_scale(index),
        )

    def linear(self, name: str, inputs: int, outputs: int) -> Linear:
        """A matrix's."""
        wide = padded(outputs, PANEL)
        weight = self._arrays.get(f"{name}.weight")
        precision = "float32" if weight is None else PRECISION_OF[weight.dtype.name]
        is_int4 = precision == "int4"
        pairs = padded(inputs, 2 * GROUP) // (2 * GROUP)
        return Linear(
            self.address(f"{name}.weight", inputs * wide // (2 if is_int4 else 1)),
            self.address(f"{name}.multiple", pairs * wide) if is_int4 else None,
            *(self.address(f"{name}.{part}", wide) for part in ("scale", "sum", "bias")),
            self._watched(f"{name}.peaks", inputs),
            self._watched(f"{name}.gram", inputs * inputs),
            *(inputs, outputs, PRECISIONS[precision]),
        )

    def _watched(self, name: str, size: int) -> int | None:
        return self.address(name, size) if name in self._arrays else None

    def address(self, name: str, size: int) -> int:
        """Where an array lies.

        Raises:
            ModelError: It is missing or has another size.
        """
        array = self._arrays.get(name)
        if array is None or array.size != size or not array.flags.c_contiguous:
            found = "missing" if array is None else f"{array.size} values"
            raise ModelError(f"the model's array {name} must have {size} values; it is {found}")
        return array.ctypes.data


def judged_rows(
    rows: npt.NDArray[np.int32], want: Sequence[int] | npt.NDArray[np.signedinteger]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Rows and wanted ones as C reads them.

    Raises:
        ValueError: They have another shape.
    """
    rows = np.ascontiguousarray(rows, np.int32)
    wanted = np.ascontiguousarray(want, np.int32)
    if rows.ndim != 2 or rows.shape[1] != 3 or wanted.ndim != 1:
        raise ValueError("rows must be [count, 3], and wanted ones a list")
    return rows, wanted


def result_pointer(array: Floats | None, shape: tuple[int, int]) -> int | None:
    """Where results go, if they are asked for.

    Raises:
        ValueError: There is no room for them, or of another kind.
    """
    if array is None:
        return None
    if array.shape != shape or array.dtype != np.float32 or not array.flags.c_contiguous:
        raise ValueError(f"results must be float32 {list(shape)}, contiguous")
    return array.ctypes.data
