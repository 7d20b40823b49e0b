"""The forms in which a matrix product is computed, each as a few ONNX nodes.

Every form gives a row of the result that depends on that row of the input alone, bit for bit:
no scale is ever taken over several rows at run time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from archive.builder import MICROSOFT, GraphBuilder

Matrix = NDArray[np.float32]

# Activations are unsigned bytes, whatever the form.
LEVELS = 255
# Keeps a row of zeros from being divided by zero.
SMALLEST_SCALE = 1e-20


class Form(Enum):
    """How a product is computed; the value is its name for people."""

    STATIC_7BIT = "int8 static 7-bit"
    ROWS_7BIT = "int8 rows 7-bit"
    ROWS_8BIT = "int8 rows 8-bit"
    FP32 = "fp32"

    @property
    def short(self) -> str:
        """The name without the word that all integer forms share."""
        return self.value.removeprefix("int8 ")


@dataclass(frozen=True)
class Range:
    """Smallest and largest value that calibration saw in a product's input; zero lies within."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= 0.0 <= self.high:
            raise ValueError(f"zero must lie within [{self.low}, {self.high}]")

    @property
    def scale(self) -> float:
        """Step between two levels of a byte that spans the range."""
        return max((self.high - self.low) / LEVELS, SMALLEST_SCALE)

    @property
    def zero_point(self) -> int:
        """The byte that stands for zero; never at an end that the range goes beyond."""
        byte = round(-self.low / self.scale)
        return min(max(byte, int(self.low < 0)), LEVELS - int(self.high > 0))


def quantise_columns(weight: Matrix, bits: int) -> tuple[NDArray[np.int8], Matrix]:
    """Quantise `weight` [in, out] symmetrically, one scale a column, to `bits` bits."""
    largest = 2 ** (bits - 1) - 1
    scale = np.maximum(np.abs(weight).max(axis=0), np.float32(SMALLEST_SCALE)) / largest
    return np.rint(weight / scale).astype(np.int8), scale.astype(np.float32)


def add_float_product(
    graph: GraphBuilder, name: str, rows: str, weight: Matrix, bias: Matrix | None
) -> str:
    """Add `rows` [tokens, in] times `weight` [in, out] plus `bias` [out]; return [tokens, out]."""
    inputs = [rows, graph.constant(f"{name}.weight", weight)]
    if bias is None:
        return graph.node("MatMul", inputs, name)
    return graph.node("Gemm", [*inputs, graph.constant(f"{name}.bias", bias)], name)


def add_quantised_product(
    graph: GraphBuilder,
    form: Form,
    name: str,
    rows: str,
    weight: Matrix,
    bias: Matrix | None,
    span: Range,
) -> str:
    """Add the product in an integer form; `span` is the range of the input."""
    if form is Form.STATIC_7BIT:
        return add_static_product(graph, name, rows, weight, bias, span)
    bits = {Form.ROWS_7BIT: 7, Form.ROWS_8BIT: 8}[form]
    return add_row_product(graph, name, rows, weight, bias, span, bits)


def add_static_product(
    graph: GraphBuilder, name: str, rows: str, weight: Matrix, bias: Matrix | None, span: Range
) -> str:
    """Add the product with one calibrated scale and offset for all rows: two nodes.

    Weights have seven bits: 255 * 63 * 2 fits the 16 bits in which CPUs without VNNI add pairs.
    """
    quantised, columns = quantise_columns(weight, bits=7)
    scale = graph.constant(f"{name}.input_scale", np.array(span.scale, np.float32))
    zero = graph.constant(f"{name}.input_zero", np.array(span.zero_point, np.uint8))
    bytes_ = graph.node("QuantizeLinear", [rows, scale, zero], f"{name}.input")
    inputs = [
        bytes_,
        graph.constant(f"{name}.weight_q", quantised),
        scale,
        graph.constant(f"{name}.weight_scale", columns),
        zero,
    ]
    if bias is not None:
        inputs += ["", graph.constant(f"{name}.bias", bias)]
    return graph.node("MatMulIntegerToFloat", inputs, name, MICROSOFT)


def add_row_product(
    graph: GraphBuilder,
    name: str,
    rows: str,
    weight: Matrix,
    bias: Matrix | None,
    span: Range,
    bits: int,
) -> str:
    """Add the product with a scale for every row, taken from the row, and a calibrated offset.

    A fixed offset keeps the correction inside the integer product. Eight-bit weights are unsigned
    around 128: signed ones would overflow 16 bits on CPUs without VNNI.
    """
    quantised, columns = quantise_columns(weight, bits)
    zero = span.zero_point
    scale = _row_scale(graph, name, rows, zero)
    zeros = _filled_like(graph, scale, zero)
    bytes_ = graph.node("QuantizeLinear", [rows, scale, zeros], f"{name}.input", axis=0)
    inputs = [
        bytes_,
        graph.constant(f"{name}.weight_q", quantised),
        graph.constant("one", np.array(1.0, np.float32)),
        graph.constant(f"{name}.weight_scale", columns),
        graph.constant(f"zero_point.{zero}", np.array(zero, np.uint8)),
    ]
    if bits == 8:
        middle = quantised.astype(np.int16) + 128
        graph.tensors[f"{name}.weight_q"] = middle.astype(np.uint8)
        inputs.append(graph.constant("zero_point.128", np.array(128, np.uint8)))
    product = graph.node("MatMulIntegerToFloat", inputs, f"{name}.scaled", MICROSOFT)
    column = graph.constant("column", np.array([-1, 1], np.int64))
    factor = graph.node("Reshape", [scale, column], f"{name}.row_scale")
    if bias is None:
        return graph.node("Mul", [product, factor], name)
    product = graph.node("Mul", [product, factor], f"{name}.product")
    return graph.node("Add", [product, graph.constant(f"{name}.bias", bias)], name)


def _row_scale(graph: GraphBuilder, name: str, rows: str, zero: int) -> str:
    """Add the scale [tokens] at which each row fits a byte around `zero`."""
    bounds = []
    for reduce, levels in (("ReduceMax", LEVELS - zero), ("ReduceMin", -zero)):
        if levels:
            bound = graph.node(reduce, [rows], f"{name}.{reduce}", axes=[1], keepdims=0)
            step = graph.constant(f"step.{levels}", np.array(1 / levels, np.float32))
            bounds.append(graph.node("Mul", [bound, step], f"{name}.{reduce}.scale"))
    smallest = graph.constant("smallest_scale", np.array(SMALLEST_SCALE, np.float32))
    return graph.node("Max", [*bounds, smallest], f"{name}.scale")


def _filled_like(graph: GraphBuilder, scale: str, zero: int) -> str:
    """Add the offset once per row, as QuantizeLinear wants it."""
    shape = graph.node("Shape", [scale], f"{scale}.shape")
    fill = np.array([zero], np.uint8)
    return graph.node(
        "ConstantOfShape", [shape], f"{scale}.zeros", value=numpy_helper.from_array(fill)
    )
