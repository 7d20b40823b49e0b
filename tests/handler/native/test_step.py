"""A step from Python: the embedded model beside transformers, mixed rows, and every wrong index."""

from __future__ import annotations

import ctypes
import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from transformers import GPT2LMHeadModel

from handler.engine.errors import ModelError
from handler.engine.model import ModelShape
from handler.engine.native.library import NativeStep
from handler.engine.native.weights import pack_model, uniform
from tests.conftest import EMBEDDED_MODEL

TOKENS = [(i * 37 + 5) % 7552 for i in range(70)]
Weights = dict[str, np.ndarray[Any, np.dtype[np.float32]]]


@pytest.fixture(scope="module")
def shape() -> ModelShape:
    return ModelShape.from_config(json.loads((EMBEDDED_MODEL / "config.json").read_text()))


@pytest.fixture(scope="module")
def weights() -> Weights:
    read = load_file(EMBEDDED_MODEL / "model.safetensors")
    return {name.removeprefix("transformer."): w.astype(np.float32) for name, w in read.items()}


def _load(
    library: ctypes.CDLL, weights: Weights, shape: ModelShape, precision: str, **more: int
) -> NativeStep:
    arrays = dict(pack_model(weights, shape, uniform(precision)))
    cache = "float32" if precision == "float32" else "int8"
    return NativeStep(library, arrays, shape, cache=cache, **more)


@pytest.fixture(scope="module", params=["float32", "int8", "int4"])
def step(
    request: pytest.FixtureRequest, library: ctypes.CDLL, weights: Weights, shape: ModelShape
) -> NativeStep:
    return _load(library, weights, shape, request.param, slots=8, max_rows=96, threads=2)


def _prompt(slot: int, start: int, end: int) -> list[tuple[int, int, int]]:
    return [(TOKENS[p], slot, p) for p in range(start, end)]


def _logits(step: NativeStep, rows: list[tuple[int, int, int]], want: list[int]) -> Any:
    logits = np.empty((len(want), step.shape.vocab_size), np.float32)
    step.step(np.array(rows, np.int32), want, logits)
    return logits


def test_floats_are_those_of_transformers(
    library: ctypes.CDLL, weights: Weights, shape: ModelShape
) -> None:
    reference = GPT2LMHeadModel.from_pretrained(EMBEDDED_MODEL, dtype=torch.float32).eval()
    with torch.inference_mode():
        expected = reference(torch.tensor([TOKENS]), output_hidden_states=True)
    step = _load(library, weights, shape, "float32")
    logits = np.empty((len(TOKENS), shape.vocab_size), np.float32)
    hidden = np.empty((len(TOKENS), shape.width), np.float32)
    rows = np.array(_prompt(0, 0, len(TOKENS)), np.int32)
    step.step(rows, range(len(TOKENS)), logits, hidden)
    np.testing.assert_allclose(logits, expected.logits[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(hidden, expected.hidden_states[-1][0].numpy(), atol=1e-4)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_mix_of_rows_gives_each_text_its_own_bits(
    step: NativeStep, data: st.DataObject
) -> None:
    """Texts of different lengths, cut anywhere, decoded and read together, in any order.

    Of a prompt that goes on nothing is wanted.
    """
    alone = _logits(step, _prompt(7, 0, len(TOKENS)), list(range(len(TOKENS))))
    done = dict.fromkeys(range(4), 0)
    while any(at < len(TOKENS) for at in done.values()):
        open_slots = [slot for slot, at in done.items() if at < len(TOKENS)]
        chosen = data.draw(st.permutations(open_slots))[: data.draw(st.integers(1, 4))]
        rows: list[tuple[int, int, int]] = []
        for slot in chosen:
            end = min(len(TOKENS), done[slot] + data.draw(st.integers(1, 24)))
            rows += _prompt(slot, done[slot], end)
            done[slot] = end
        want = data.draw(st.sets(st.integers(0, len(rows) - 1)).map(sorted))
        logits = _logits(step, rows, want)
        for row, index in zip(logits, want, strict=True):
            assert (row == alone[rows[index][2]]).all()


def test_a_row_that_overflows_spoils_itself_alone(
    library: ctypes.CDLL, weights: Weights, shape: ModelShape
) -> None:
    broken = dict(weights)
    embedding = weights["wte.weight"].copy()
    embedding[3] = 6e4
    positions = weights["wpe.weight"].copy()
    positions[2] = 3e38
    broken |= {"wte.weight": embedding, "wpe.weight": positions}
    step = _load(library, broken, shape, "int8")
    rows = [(5, 0, 0), (5, 0, 1), (3, 1, 0), (5, 2, 0), (5, 2, 1), (5, 2, 2)]
    logits = _logits(step, rows, list(range(len(rows))))
    assert (logits[0] == logits[3]).all()
    assert (logits[1] == logits[4]).all()
    assert np.isfinite(logits[:2]).all()
    assert not np.isfinite(logits[5]).any()


@pytest.mark.parametrize(
    ("rows", "want", "words"),
    [
        ([], [], "1 to max_rows rows"),
        (_prompt(0, 0, 60) + _prompt(1, 0, 60), [0], "1 to max_rows rows"),
        ([(7552, 0, 0)], [0], "outside the vocabulary"),
        ([(-1, 0, 0)], [0], "outside the vocabulary"),
        ([(0, 8, 0)], [0], "slot does not exist"),
        ([(0, -1, 0)], [0], "slot does not exist"),
        ([(0, 0, 512)], [0], "beyond the context"),
        ([(0, 0, -1)], [0], "beyond the context"),
        ([(0, 0, 0), (0, 0, 2)], [0], "consecutive positions"),
        ([(0, 0, 1), (0, 0, 0)], [0], "consecutive positions"),
        ([(0, 0, 0), (0, 1, 0), (0, 0, 1)], [0], "follow each other"),
        ([(0, 0, 0)], [1], "ascending"),
        ([(0, 0, 0)], [-1], "ascending"),
        ([(0, 0, 0), (0, 0, 1)], [1, 0], "ascending"),
        ([(0, 0, 0), (0, 0, 1)], [0, 0], "ascending"),
        ([(0, 0, 0)], [0, 0], "no more wanted"),
    ],
)
def test_a_wrong_index_is_told_and_nothing_is_computed(
    step: NativeStep, rows: list[tuple[int, int, int]], want: list[int], words: str
) -> None:
    logits = np.full((len(want), step.shape.vocab_size), 7, np.float32)
    with pytest.raises(ValueError, match=words):
        step.step(np.array(rows, np.int32).reshape(-1, 3), want, logits)
    assert (logits == 7).all()


def test_results_must_have_their_shape_and_slots_must_exist(step: NativeStep) -> None:
    with pytest.raises(ValueError, match="float32"):
        step.step(np.zeros((1, 3), np.int32), [0], np.empty((1, 5), np.float32))
    with pytest.raises(ValueError, match="rows must be"):
        step.step(np.zeros((1, 2), np.int32), [0])
    with pytest.raises(ValueError, match="slot"):
        step.copy(0, 8, 1)
    with pytest.raises(ValueError, match="context"):
        step.copy(0, 1, 513)


def test_memory_of_a_slot_is_given_back(step: NativeStep) -> None:
    before = _logits(step, _prompt(0, 0, 40), [39])
    step.release(0, 32)
    assert (_logits(step, _prompt(0, 32, 40), [7]) == before).all()
    step.release(0)
    assert (_logits(step, _prompt(0, 0, 40), [39]) == before).all()


def test_weights_that_are_not_finite_or_missing_are_refused(
    library: ctypes.CDLL, weights: Weights, shape: ModelShape
) -> None:
    broken = weights["h.0.mlp.c_fc.weight"].copy()
    broken[1, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        dict(pack_model({**weights, "h.0.mlp.c_fc.weight": broken}, shape, uniform("int8")))
    arrays = dict(pack_model(weights, shape, uniform("int8")))
    del arrays["layer.2.qkv.scale"]
    with pytest.raises(ModelError, match="layer.2.qkv.scale"):
        NativeStep(library, arrays, shape)
