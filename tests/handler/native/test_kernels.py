"""Each kernel against a reference of a few lines of NumPy, over odd sizes and extreme values."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import expit, ndtr

from handler.engine.activations import FINISHES as ACTIVATION_FINISHES
from handler.engine.native.matrices import LANES, PACKERS, LinearArrays, padded, widened
from handler.engine.native.records import PRECISIONS, Linear, Model
from tests.handler.native.conftest import HERE

STORE, ADD_TO = 0, 1
many = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Activations(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("bytes", "floats", "scale", "offset")]


class Scratch(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("scores", "high", "low")]


def _rows(seed: int, rows: int, width: int, spread: float = 1.0) -> np.ndarray[Any, Any]:
    made = np.random.default_rng(seed).standard_normal((rows, width)) * spread
    return made.astype(np.float32)


def _softmax(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


REFERENCES = {
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "gelu": lambda x: x * ndtr(x),
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x * expit(x),
}
FINISHES = {
    STORE: lambda _, product: product,
    ADD_TO: lambda before, product: before + product,
    **{ACTIVATION_FINISHES[n]: lambda _, product, f=f: f(product) for n, f in REFERENCES.items()},
}


@pytest.mark.parametrize("name", ACTIVATION_FINISHES)
@pytest.mark.parametrize("precision", ["int8", "int4", "float32"])
def test_activations(kernels: ctypes.CDLL, name: str, precision: str) -> None:
    """Of all magnitudes, near enough for each of them; what is no number stays none."""
    spread = np.float32([-1e30, -88.5, -30, -13.2, -5.5, -1, -1e-3, -1e-30, 0])
    x = np.concatenate([spread, -spread, np.linspace(-14, 14, 2000, dtype=np.float32)])
    weight, bias = np.zeros((1, len(x)), np.float32), x
    one, finish = np.ones((1, 1), np.float32), ACTIVATION_FINISHES[name]
    out = _product(kernels, one, weight, bias, precision, finish)
    expected = REFERENCES[name](x.astype(np.float64))
    np.testing.assert_allclose(out[0], expected, rtol=2e-5, atol=1e-6)
    nothing = np.full((1, 1), np.nan, np.float32)
    ones = np.ones((1, 33), np.float32)
    out = _product(kernels, nothing, ones, ones[0], precision, finish)
    assert np.isnan(out).all()


@many
@given(width=st.integers(1, 100), spread=st.sampled_from([1e-3, 1.0, 1e3]), seed=st.integers(0, 99))
def test_layer_norm(kernels: ctypes.CDLL, width: int, spread: float, seed: int) -> None:
    x = _rows(seed, 1, width, spread)[0] + np.float32(spread)
    gain, bias = _rows(seed + 1, 2, width)
    held, scale, shift = (np.ascontiguousarray(widened(each)) for each in (x, gain, bias))
    out = np.full(padded(width), 9, np.float32)
    kernels.layer_norm(
        held.ctypes.data, scale.ctypes.data, shift.ctypes.data, width, padded(width), 1e-5,
        out.ctypes.data,
    )  # fmt: skip
    precise = x.astype(np.float64)
    normal = (precise - precise.mean()) / np.sqrt(precise.var() + 1e-5)
    np.testing.assert_allclose(out[:width], normal * gain + bias, rtol=2e-4, atol=2e-4)
    assert not out[width:].any()


def _quantized(kernels: ctypes.CDLL, x: np.ndarray[Any, Any]) -> tuple[Any, Any, Any]:
    rows, width = x.shape
    held = np.ascontiguousarray(widened(x))
    units = np.zeros(held.shape, np.uint8)
    scale, offset = np.zeros(rows, np.float32), np.zeros(rows, np.int32)
    for row in range(rows):
        kernels.quantize_row(
            held[row].ctypes.data, held.shape[1], units[row].ctypes.data,
            scale[row:].ctypes.data, offset[row:].ctypes.data,
        )  # fmt: skip
    return units, scale, offset


@many
@given(
    width=st.integers(1, 70),
    spread=st.sampled_from([0.0, 1e-38, 1e-6, 1.0, 1e6, 1e37]),
    shift=st.sampled_from([0.0, 3.0, -3.0]),
    seed=st.integers(0, 99),
)
def test_rows_keep_their_values_to_half_a_step(
    kernels: ctypes.CDLL, width: int, spread: float, shift: float, seed: int
) -> None:
    x = (_rows(seed, 1, width) + np.float32(shift)) * np.float32(spread)
    units, scale, offset = _quantized(kernels, x)
    back = (units.astype(np.float64) - offset[:, None]) * scale[:, None].astype(np.float64)
    reach = max(x.max(initial=0.0) - x.min(initial=0.0), 1e-30)
    assert np.abs(back[:, :width] - x).max() <= 0.51 * reach / 255 + 1e-30
    assert (back[:, width:] == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_not_lost(kernels: ctypes.CDLL, value: float) -> None:
    x = _rows(0, 1, 40)
    x[0, 33] = value
    assert np.isnan(_quantized(kernels, x)[1][0])


def _product(
    kernels: ctypes.CDLL,
    x: Any,
    weight: Any,
    bias: Any,
    precision: str,
    finish: int,
    before: Any = 0,
) -> Any:
    """What a matmul stores over `before`, for rows `x`."""
    rows, outputs = len(x), weight.shape[1]
    packed = PACKERS[precision](weight, bias)
    arrays = {name: each.ctypes.data for name, each in packed.named("")}
    linear = Linear(
        **{name.removeprefix("."): address for name, address in arrays.items()},
        **{"inputs": padded(x.shape[1]), "outputs": outputs, "precision": PRECISIONS[precision]},
    )
    units, scale, offset = _quantized(kernels, x)
    floats = np.ascontiguousarray(widened(x))
    held = Activations(*(each.ctypes.data for each in (units, floats, scale, offset)))
    out = np.full((rows, outputs + 3), 7, np.float32)
    out[:, :outputs] = before
    matmul = getattr(kernels, "matmul_" + precision.removesuffix("32"))
    room = np.zeros((padded(x.shape[1]), 32), np.int8)
    more = [room.ctypes.data] if precision == "int4" else []
    for panel in range(-(-outputs // 32)):
        matmul(
            ctypes.addressof(linear), ctypes.addressof(held), rows, out.ctypes.data,
            out.shape[1], finish, panel, *more,
        )  # fmt: skip
    assert (out[:, outputs:] == 7).all()
    return out[:, :outputs]


@many
@given(
    rows=st.integers(1, 30),
    inputs=st.integers(1, 70),
    outputs=st.integers(1, 80),
    precision=st.sampled_from(["int8", "int4", "float32"]),
    finish=st.sampled_from(sorted(FINISHES)),
    seed=st.integers(0, 99),
)
def test_matmul(
    kernels: ctypes.CDLL,
    rows: int,
    inputs: int,
    outputs: int,
    precision: str,
    finish: int,
    seed: int,
) -> None:
    x, weight = _rows(seed, rows, inputs), _rows(seed + 1, inputs, outputs)
    bias, before = _rows(seed + 2, 1, outputs)[0], _rows(seed + 3, rows, outputs)
    out = _product(kernels, x, weight, bias, precision, finish, before)
    if precision != "float32":
        packed = PACKERS[precision](weight, bias)
        units, scale, offset = _quantized(kernels, x)
        whole = integers_of(packed, padded(inputs))
        assert (whole.sum(axis=0) == packed.sum).all()
        exact = (units.astype(np.int64) - offset[:, None]) @ whole
        product = exact * scale[:, None].astype(np.float64) * packed.scale
        product = product[:, :outputs] + bias
    else:
        product = x.astype(np.float64) @ weight + bias
    np.testing.assert_allclose(out, FINISHES[finish](before, product), rtol=1e-4, atol=1e-4)


def integers_of(packed: LinearArrays, rows: int) -> Any:
    """A packed matrix's weights in units of their columns: int64 [K_pad, N_pad]."""
    if packed.multiple is None:
        return packed.weight.transpose(1, 3, 0, 2).reshape(rows, -1).astype(np.int64)
    halves = np.stack([packed.weight & 15, packed.weight >> 4], axis=2)  # panel, 8, 2, column, 4
    nibbles = halves.transpose(1, 2, 4, 0, 3).reshape(rows, -1).astype(np.int64)
    both = np.stack([packed.multiple & 15, packed.multiple >> 4], axis=2)  # panel, 32, 2, column
    multiples = both.transpose(1, 2, 0, 3).reshape(-1, nibbles.shape[1]).repeat(16, axis=0)
    return multiples[:rows] * (nibbles - 8)


@many
@given(
    count=st.integers(1, 20),
    before=st.integers(0, 40),
    channels=st.integers(1, 70),
    spread=st.sampled_from([0.1, 1.0, 10.0]),
    precision=st.sampled_from(["int8", "float32"]),
    seed=st.integers(0, 99),
)
def test_attention(
    kernels: ctypes.CDLL,
    count: int,
    before: int,
    channels: int,
    spread: float,
    precision: str,
    seed: int,
) -> None:
    """Queries at positions before .. before + count - 1, in groups as the step makes them."""
    length, wide = before + count, padded(channels)
    query, key, value = (_rows(seed + i, length, channels, spread) for i in range(3))
    room = padded(length)
    model = Model(heads=1, layers=1, slots=1, channels_pad=wide, positions_pad=room)
    model.cache_precision = PRECISIONS[precision]
    cache = np.full((room * wide * 8 + 64 * room,), 255, np.uint8)  # NaN, where nothing was written
    start = -cache.ctypes.data % 64
    head = cache[start:].ctypes.data
    keys, values, queries = (np.ascontiguousarray(widened(each)) for each in (key, value, query))
    for position in range(length):
        kernels.cache_write(
            ctypes.addressof(model), head, position, keys[position].ctypes.data,
            values[position].ctypes.data,
        )  # fmt: skip
    memory = [np.zeros((12, room), kind) for kind in (np.float32, np.uint8, np.uint8)]
    scratch = Scratch(*(each.ctypes.data for each in memory))
    out = np.zeros((length, wide), np.float32)
    attend = kernels.attend_int8 if precision == "int8" else kernels.attend_float
    at_once = 8 if HERE[0] == "avx512-vnni" else 2
    for first in range(before, length, at_once):
        attend(
            ctypes.addressof(model), head, queries[first].ctypes.data, wide,
            out[first].ctypes.data, wide, min(at_once, length - first), first + 1, 0.3,
            ctypes.addressof(scratch),
        )  # fmt: skip
    if precision == "int8":
        key, value, query = _rounded(key, 127), _rounded(value, 127), _rounded(query, 8191)
    scores = (query.astype(np.float64) @ key.T.astype(np.float64)) * 0.3
    scores[np.arange(length)[:, None] < np.arange(length)] = -np.inf
    expected = (_softmax(scores) @ value)[before:]
    # Weights are kept to 14 bits of the largest.
    tolerance = 2e-3 * spread if precision == "int8" else 1e-4 * spread
    np.testing.assert_allclose(out[before:, :channels], expected, rtol=1e-3, atol=tolerance)


def _rounded(x: np.ndarray[Any, Any], levels: int) -> np.ndarray[Any, Any]:
    step = np.abs(x).max(axis=-1, keepdims=True) / levels
    return np.asarray(np.rint(x / step) * step)


def test_lanes_of_python_and_c_agree() -> None:
    assert LANES == 16
