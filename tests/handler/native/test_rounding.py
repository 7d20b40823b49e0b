"""Rounding to four bits, beside NumPy and beside rounding each weight by itself."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archive.compensation import DAMPING, Rounder
from handler.engine.model import ModelShape
from handler.engine.native.library import NativeStep
from handler.engine.native.matrices import LinearArrays, pack_int4, padded
from handler.engine.native.weights import pack_model, uniform
from tests.handler.native.test_compare import sizes_of
from tests.handler.native.test_kernels import integers_of


def kept(packed: LinearArrays, rows: int) -> Any:
    """What weights are worth after packing: float64 [K, N_pad]."""
    return integers_of(packed, padded(rows))[:rows] * packed.scale.astype(np.float64)


def correlated(seed: int, rows: int, width: int) -> Any:
    """Inputs of which some say much about others."""
    random = np.random.default_rng(seed)
    mixed = random.standard_normal((rows, width)) @ random.standard_normal((width, width))
    return (mixed * random.uniform(0.1, 2, width)).astype(np.float32)


def gram_of(x: Any) -> Any:
    size = padded(x.shape[1])
    gram = np.zeros((size, size), np.float32)
    gram[: x.shape[1], : x.shape[1]] = x.T @ x
    return gram


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(width=st.integers(1, 120), outputs=st.integers(1, 70), seed=st.integers(0, 99))
def test_what_a_matrix_gives_changes_less_than_by_rounding_each_weight(
    library: ctypes.CDLL, width: int, outputs: int, seed: int
) -> None:
    x = correlated(seed, 200, width)
    weight = np.random.default_rng(seed + 1).standard_normal((width, outputs)).astype(np.float32)
    bias = np.zeros(outputs, np.float32)
    with_care = kept(Rounder(library, 2).pack(gram_of(x), weight, bias), width)
    each = kept(pack_int4(weight, bias), width)
    expected = x.astype(np.float64) @ weight
    errors = [np.square(x @ found[:, :outputs] - expected).sum() for found in (with_care, each)]
    if width >= 32:  # of few weights all may happen to be kept, or to lie between two steps
        assert errors[0] < 0.8 * errors[1]
        assert errors[0] < 0.02 * np.square(expected).sum()
    assert not with_care[:, outputs:].any()


@pytest.mark.parametrize("width", [1, 16, 33, 100])
def test_a_gram_is_split_as_numpy_does(library: ctypes.CDLL, width: int) -> None:
    rounder, gram = Rounder(library, 1), gram_of(correlated(width, 300, width))
    whole = gram.astype(np.float64)
    damping = DAMPING * np.trace(whole) / len(whole)
    rounder.pack(gram, np.ones((width, 1), np.float32), np.zeros(1, np.float32))
    # H = (I + U) D (I + U)' is Cholesky's form, with the inputs in the opposite order.
    lower = np.linalg.cholesky((whole + damping * np.eye(len(whole)))[::-1, ::-1])
    upper = (lower / lower.diagonal())[::-1, ::-1]
    found = np.triu(gram, 1) + np.eye(len(gram))
    np.testing.assert_allclose(found, upper, rtol=1e-2, atol=1e-3 * np.abs(upper).max())


def test_weights_of_any_size_are_rounded(library: ctypes.CDLL) -> None:
    """Zeros, the smallest and the largest numbers, inputs that are never there."""
    columns = np.array([[0.0, 1e-45, 1e-38, 1.0, 3e38], [0.0, -1e-45, 1e-38, -63.0, 1.0]])
    weight, bias = columns.astype(np.float32), np.zeros(5, np.float32)
    for gram in (np.zeros((16, 16), np.float32), gram_of(np.eye(2, dtype=np.float32))):
        found = kept(Rounder(library, 1).pack(gram, weight, bias), 2)[:, :5]
        assert (found[:, :3] == 0).all()
        assert found[1, 3] == pytest.approx(-63, rel=0.06)
        assert found[0, 4] == pytest.approx(3e38, rel=0.08)
    with pytest.raises(ValueError, match="finite"):
        Rounder(library, 1).pack(gram, np.full((2, 1), np.nan, np.float32), bias[:1])


def test_a_step_adds_up_the_products_of_what_it_feeds(library: ctypes.CDLL) -> None:
    """The head's inputs are the last hidden states, which a step tells."""
    shape = ModelShape(layers=1, heads=2, width=40, max_length=200, vocab_size=30)
    random = np.random.default_rng(0)
    weights = {
        name: random.standard_normal(size).astype(np.float32) * np.float32(0.2)
        for name, size in sizes_of(shape).items()
    }
    arrays = dict(pack_model(weights, shape, uniform("float32")))
    arrays["head.gram"] = np.zeros((48, 48), np.float32)
    step = NativeStep(library, arrays, shape, slots=1, max_rows=150, threads=2)
    hidden, logits = np.empty((150, 40), np.float32), np.empty((150, 30), np.float32)
    rows = np.array([(p % 30, 0, p) for p in range(150)], np.int32)
    step.step(rows, range(150), logits, hidden)
    found = np.triu(arrays["head.gram"])[:40, :40]
    np.testing.assert_allclose(found, np.triu(hidden.T @ hidden), rtol=1e-4, atol=1e-3)
