"""What the quality gate adds up, beside NumPy, and a part of a model beside the whole."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archive.native_build import library_name
from handler.engine.model import ModelShape
from handler.engine.native.library import NativeStep, load_library
from handler.engine.native.weights import pack_model, uniform
from tests.handler.native.conftest import HERE


def mean_difference(library: ctypes.CDLL, expected: Any, found: Any) -> float:
    library.gpt2_mean_difference.restype = ctypes.c_double
    library.gpt2_mean_difference.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32]
    value: float = library.gpt2_mean_difference(
        expected.ctypes.data, found.ctypes.data, len(expected)
    )
    return value


@pytest.mark.parametrize("vocabulary", [1, 15, 16, 255, 257, 7552, 50257])
def test_differences_are_those_of_numpy_and_the_same_everywhere(
    libraries: Path, vocabulary: int
) -> None:
    random = np.random.default_rng(vocabulary)
    expected = (random.standard_normal(vocabulary) * 4 - 30).astype(np.float32)
    found = expected + random.standard_normal(vocabulary).astype(np.float32) * np.float32(0.2)
    weights = np.exp(expected.astype(np.float64) - expected.max())
    wanted = (weights * (expected.astype(np.float64) - found)).sum() / weights.sum()
    values = {
        mean_difference(load_library(libraries / library_name(isa)), expected, found)
        for isa in HERE
    }
    assert len(values) == 1
    assert values.pop() == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_what_is_not_finite_is_no_number(library: ctypes.CDLL) -> None:
    fine = np.linspace(-3, 3, 40, dtype=np.float32)
    for value in (np.nan, np.inf, -np.inf):
        broken = fine.copy()
        broken[7] = value
        assert np.isnan(mean_difference(library, broken, fine))
        assert np.isnan(mean_difference(library, fine, broken))


def test_a_layer_by_itself_hands_on_what_the_next_one_is_given(library: ctypes.CDLL) -> None:
    """The rows that come out of a part go into the next through its position embedding."""
    shape = ModelShape(layers=2, heads=2, width=48, max_length=20, vocab_size=40)
    random = np.random.default_rng(0)
    weights = {
        name: random.standard_normal(size).astype(np.float32) * np.float32(0.1)
        for name, size in sizes_of(shape).items()
    }
    whole = NativeStep(library, dict(pack_model(weights, shape, uniform("int8"))), shape, slots=1)
    rows = np.array([(0, 0, place) for place in range(20)], np.int32)
    expected = np.empty((20, 48), np.float32)
    whole.step(rows, range(20), None, expected)
    handed_on = weights["wpe.weight"]
    for layer in range(2):
        part = {name.replace(f"h.{layer}.", "h.0."): weight for name, weight in weights.items()}
        one = ModelShape(layers=1, heads=2, width=48, max_length=20, vocab_size=40)
        arrays = dict(pack_model(part, one, uniform("int8")))
        if layer:
            arrays["token_embedding"] = np.zeros((40, 48), np.float16)
            arrays["position_embedding"] = handed_on
        handed_on = np.empty((20, 48), np.float32)
        step = NativeStep(library, arrays, one, slots=1, is_part=layer == 0)
        step.step(rows, range(20), None, handed_on)
    assert (handed_on == expected).all()


def sizes_of(shape: ModelShape) -> dict[str, tuple[int, ...]]:
    width = shape.width
    sizes: dict[str, tuple[int, ...]] = {
        "wte.weight": (shape.vocab_size, width),
        "wpe.weight": (shape.max_length, width),
        "ln_f.weight": (width,),
        "ln_f.bias": (width,),
    }
    for layer in range(shape.layers):
        for name, matrix in (
            ("attn.c_attn", (width, 3 * width)),
            ("attn.c_proj", (width, width)),
            ("mlp.c_fc", (width, 4 * width)),
            ("mlp.c_proj", (4 * width, width)),
        ):
            sizes[f"h.{layer}.{name}.weight"] = matrix
            sizes[f"h.{layer}.{name}.bias"] = matrix[1:]
        for norm in ("ln_1", "ln_2"):
            sizes[f"h.{layer}.{norm}.weight"] = sizes[f"h.{layer}.{norm}.bias"] = (width,)
    return sizes
