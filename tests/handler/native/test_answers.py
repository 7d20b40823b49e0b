"""Sampling within the step: what a sequence is answered depends on what it asks alone."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handler.engine.model import ModelShape
from handler.engine.native.library import NativeStep
from handler.engine.native.weights import pack_model, uniform
from handler.engine.options import LogitBias, SamplingOptions
from handler.engine.step import BAD_ASK, NOT_FINITE, Answer, Draw, Score, TokenHistory
from tests.handler.native.test_compare import sizes_of

SHAPE = ModelShape(layers=2, heads=2, width=32, max_length=96, vocab_size=301)
TOKENS = [(i * 37 + 5) % 301 for i in range(80)]
ALONE = 7  # the slot in which each is computed by itself


def _step(library: ctypes.CDLL, threads: int, **changed: Any) -> NativeStep:
    random = np.random.default_rng(0)
    weights = {
        name: random.standard_normal(size).astype(np.float32) * np.float32(0.3)
        for name, size in sizes_of(SHAPE).items()
    }
    for name, value in changed.items():
        weights[name][:] = value
    arrays = dict(pack_model(weights, SHAPE, uniform("int8")))
    return NativeStep(library, arrays, SHAPE, slots=8, max_rows=80, threads=threads)


@pytest.fixture(scope="module", params=[1, 3])
def step(request: pytest.FixtureRequest, library: ctypes.CDLL) -> NativeStep:
    step = _step(library, request.param)
    step.step(_rows(ALONE, 0, len(TOKENS)), [])
    return step


def _rows(slot: int, start: int, end: int) -> Any:
    return np.array([(TOKENS[p], slot, p) for p in range(start, end)], np.int32)


options = st.builds(
    SamplingOptions,
    max_tokens=st.just(1),
    seed=st.just(0),
    temperature=st.sampled_from([0.0, 0.7, 1.0, 3.0]),
    top_k=st.sampled_from([0, 1, 20]),
    top_p=st.sampled_from([1.0, 0.95, 0.3]),
    min_p=st.sampled_from([0.0, 0.1]),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    frequency_penalty=st.sampled_from([0.0, 0.4]),
    logit_bias=st.sampled_from([None, LogitBias.of({7: 2.0, 300: -1.0})]),
)


@st.composite
def asks_of(draw: st.DrawFn, rows: int) -> list[Draw | Score]:
    found: list[Draw | Score] = []
    for _ in range(draw(st.integers(1, 40))):
        row = draw(st.integers(0, rows - 1))
        if draw(st.integers(0, 4)) == 0:
            found.append(Score(row, draw(st.integers(0, 300)), draw(st.integers(0, 5))))
            continue
        history = TokenHistory(np.array(TOKENS[: 1 + row]), 4)
        history.append(draw(st.integers(0, 300)))
        forbidden = draw(st.sampled_from([(), (3, 5), frozenset({40})]))
        top = draw(st.sampled_from([None, 0, 3, 500]))
        uniform = draw(st.floats(0, 1, exclude_max=True))
        found.append(Draw(draw(options), history, forbidden, top, row, uniform))
    return found


def _alone(step: NativeStep, ask: Draw | Score, token_row: Any) -> Answer:
    row = np.array([[token_row[0], ALONE, token_row[2]]], np.int32)
    if isinstance(ask, Score):
        return step.step_and_answer(row, [Score(0, ask.token, ask.top)])[0]
    copy = Draw(ask.options, ask.history, ask.forbidden, ask.top, 0, ask.uniform)
    return step.step_and_answer(row, [copy])[0]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_each_is_answered_as_if_it_were_alone(step: NativeStep, data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 26), min_size=1, max_size=3))
    rows = np.concatenate([_rows(slot, 0, length) for slot, length in enumerate(lengths)])
    asks = data.draw(asks_of(len(rows)))
    want = data.draw(st.sets(st.integers(0, len(rows) - 1)).map(sorted))
    hidden = np.empty((len(want), SHAPE.width), np.float32) if want else None
    answers = step.step_and_answer(rows, asks, want, hidden)
    for ask, answer in zip(asks, answers, strict=True):
        assert answer == _alone(step, ask, rows[ask.row])
        assert (answer.logprob is None) == (isinstance(ask, Draw) and ask.top is None)
    if want:
        states = np.empty((len(rows), SHAPE.width), np.float32)
        step.step(rows, range(len(rows)), hidden=states)
        assert (states[want] == hidden).all()


def test_a_prompt_of_which_every_token_is_scored(step: NativeStep) -> None:
    """More rows than have their logits at the same time."""
    rows = _rows(0, 0, 80)
    scores: Sequence[Score] = [Score(r, TOKENS[r + 1], 2) for r in range(79)]
    draw = Draw(SamplingOptions(max_tokens=1, seed=0, temperature=0.0), row=79)
    answers = step.step_and_answer(rows, [*reversed(scores), draw])
    logits = np.empty((80, 301), np.float32)
    step.step(rows, range(80), logits)
    precise = logits.astype(np.float64)
    precise -= np.log(np.exp(precise).sum(-1, keepdims=True))
    for score, answer in zip(reversed(scores), answers, strict=False):
        assert answer.logprob is not None
        assert answer.logprob.logprob == pytest.approx(precise[score.row, score.token], abs=1e-4)
        assert [t for t, _ in answer.logprob.top] == np.argsort(-precise[score.row])[:2].tolist()
    assert answers[-1].token == logits[79].argmax()


def test_a_draw_is_kept_and_follows_its_history_and_what_is_forbidden(step: NativeStep) -> None:
    history = TokenHistory(np.array([5]), 10)
    options = SamplingOptions(max_tokens=9, seed=0, temperature=0.0, repetition_penalty=1e6)
    draw = Draw(options, history)
    seen = {5}
    for number in range(6):
        draw.row = number
        draw.forbidden = frozenset({number}) if number % 2 else ()
        [answer] = step.step_and_answer(_rows(0, 0, 8), [draw])
        fresh = Draw(options, history, draw.forbidden, None, number)
        assert [answer] == step.step_and_answer(_rows(0, 0, 8), [fresh])
        assert answer.token not in seen | set(draw.forbidden)
        history.append(answer.token)
        seen.add(answer.token)


def test_who_asks_for_what_is_not_there_fails_alone(step: NativeStep) -> None:
    good = SamplingOptions(max_tokens=1, seed=0, temperature=0.0)
    bad = [
        Draw(good, row=4),
        Draw(good, row=-1),
        Draw(SamplingOptions(max_tokens=1, seed=0, temperature=-1.0)),
        Draw(SamplingOptions(max_tokens=1, seed=0, temperature=float("nan"))),
        Draw(SamplingOptions(max_tokens=1, seed=0, top_p=0.0)),
        Draw(SamplingOptions(max_tokens=1, seed=0, logit_bias=LogitBias.of({301: 1.0}))),
        Draw(SamplingOptions(max_tokens=1, seed=0, logit_bias=LogitBias.of({2**32 + 5: 1.0}))),
        Draw(good, forbidden=(301,)),
        Score(0, 301, 0),
        Score(0, -1, 0),
        Score(0, 2**32, 0),
        Score(4, 0, 0),
        Score(0, 0, -2),
    ]
    answers = step.step_and_answer(_rows(0, 0, 4), [*bad, Draw(good, row=3)])
    assert [answer.token for answer in answers[:-1]] == [BAD_ASK] * len(bad)
    assert answers[-1] == _alone(step, Draw(good), (TOKENS[3], 0, 3))


def test_logits_that_are_no_numbers_are_told_to_who_asked_for_them(library: ctypes.CDLL) -> None:
    step = _step(library, 2, **{"wpe.weight": np.float32([[0]] * 2 + [[3e38]] + [[0]] * 93)})
    options = SamplingOptions(max_tokens=1, seed=0)
    asks = [Draw(options, row=2), Draw(options, row=1), Score(2, 4, 1), Score(1, 4, 1)]
    answers = step.step_and_answer(_rows(0, 0, 3), asks)
    assert [answer.token == NOT_FINITE for answer in answers] == [True, False, True, False]
    assert answers[0].logprob is answers[2].logprob is None


def test_rows_without_questions_and_wrong_rows(step: NativeStep) -> None:
    assert step.step_and_answer(_rows(0, 0, 4), []) == []
    with pytest.raises(ValueError, match="slot"):
        step.step_and_answer(_rows(8, 0, 4), [])
    with pytest.raises(ValueError, match="hidden"):
        step.step_and_answer(_rows(0, 0, 4), [], [1])
    with pytest.raises(ValueError, match="ascending"):
        step.step_and_answer(_rows(0, 0, 4), [], [4], np.empty((1, 32), np.float32))
