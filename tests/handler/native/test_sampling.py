"""Sampling in C against the same choice in NumPy's doubles."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handler.engine.native.asks import Asks
from handler.engine.options import LogitBias, SamplingOptions
from handler.engine.sampler import answer as reference
from handler.engine.sampler import forbid, penalize
from handler.engine.step import NOT_FINITE, Answer, Draw, Score, TokenHistory

SIZES = (1, 2, 17, 256, 300, 5000)
many = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
Floats = np.ndarray[Any, np.dtype[np.float64]]


class Sampler(ctypes.Structure):
    _fields_ = [
        ("vocabulary", ctypes.c_int32),
        *((n, ctypes.c_void_p) for n in ("values", "block_sum", "block_most", "list", "sorting")),
        *((name, ctypes.c_int64) for name in ("high", "high_sum", "low", "low_sum")),
        *((name, ctypes.c_double) for name in ("total", "drawn_weight")),
        ("drawn_count", ctypes.c_int32),
    ]


class KernelSampler:
    """Asks `answer` of ask.h about logits of its own."""

    def __init__(self, kernels: ctypes.CDLL, vocabulary: int) -> None:
        self._answer = kernels.answer
        self._answer.argtypes = [ctypes.c_void_p] * 3
        self._vocabulary = vocabulary
        blocks = -(-vocabulary // 256)
        sizes = (1024, 8, 4, 2048, 2048)
        self._room = [np.zeros(blocks * size, np.uint8) for size in sizes]
        self._sampler = Sampler(vocabulary, *(room.ctypes.data for room in self._room))

    def answer(self, logits: Any, ask: Draw | Score) -> Answer:
        asks = Asks([ask], self._vocabulary)
        [address] = np.ctypeslib.as_array((ctypes.c_uint64 * 1).from_address(asks.address))
        self._answer(ctypes.addressof(self._sampler), logits.ctypes.data, int(address))
        return asks.answers()[0]

    def choose(
        self,
        logits: Any,
        options: SamplingOptions,
        history: TokenHistory | None,
        forbidden: Collection[int],
        uniform: float,
    ) -> int:
        return self.answer(logits, Draw(options, history, forbidden, None, 0, uniform)).token


@pytest.fixture(scope="module")
def samplers(kernels: ctypes.CDLL) -> dict[int, KernelSampler]:
    return {size: KernelSampler(kernels, size) for size in SIZES}


def _logits(size: int, seed: int, spread: float) -> Any:
    return (np.random.default_rng(seed).standard_normal(size) * spread).astype(np.float32)


def _choose(
    sampler: KernelSampler,
    logits: Any,
    options: SamplingOptions,
    uniform: float,
    history: TokenHistory | None = None,
    forbidden: list[int] | None = None,
) -> int:
    draw = Draw(options, history, forbidden or (), uniform=uniform)
    return sampler.answer(logits, draw).token


def _candidates(logits: Any, options: SamplingOptions) -> tuple[Any, Floats]:
    """Ids and weights of what may be chosen, in the order in which they are drawn from."""
    scaled = (logits.astype(np.float64) - logits.max()) / options.temperature
    weights = np.exp(scaled)
    ids = np.arange(len(logits))
    is_restricted = options.top_p < 1 or options.min_p > 0 or 0 < options.top_k < len(logits)
    if is_restricted:
        ids = np.argsort(-logits, kind="stable")
    weights = weights[ids]
    if 0 < options.top_k < len(logits):
        ids, weights = ids[: options.top_k], weights[: options.top_k]
    if options.top_p < 1:
        reached = np.flatnonzero(np.cumsum(weights) >= options.top_p * weights.sum())
        count = reached[0] + 1 if len(reached) else len(weights)
        ids, weights = ids[:count], weights[:count]
    if options.min_p > 0:
        kept = weights >= options.min_p
        ids, weights = ids[kept], weights[kept]
    return ids, weights


@many
@given(
    size=st.sampled_from(SIZES),
    seed=st.integers(0, 30),
    spread=st.sampled_from([0.0, 0.01, 1.0, 5.0, 50.0]),
    temperature=st.sampled_from([1e-4, 0.2, 0.7, 1.0, 2.0]),
    top_k=st.sampled_from([0, 1, 3, 40, 100_000]),
    top_p=st.sampled_from([1.0, 0.95, 0.5, 1e-6]),
    min_p=st.sampled_from([0.0, 0.05, 1.0]),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_the_chosen_token_is_the_one_at_the_random_number(
    samplers: dict[int, KernelSampler],
    size: int,
    seed: int,
    spread: float,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    uniform: float,
) -> None:
    options = SamplingOptions(
        max_tokens=1, seed=0, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p
    )
    logits = _logits(size, seed, spread)
    token = _choose(samplers[size], logits, options, uniform)
    ids, weights = _candidates(logits, options)
    ends = np.cumsum(weights) / weights.sum()
    # Rounding may move the edges of tokens and of the nucleus a little: the number must lie within.
    begins = ends - weights / weights.sum()
    near = np.flatnonzero((ends >= uniform - 1e-4) & (begins <= uniform + 1e-4))
    places = np.flatnonzero(ids == token)
    assert len(places) and places[0] in near, (token, uniform)


@many
@given(
    size=st.sampled_from([300, 5000]),
    seed=st.integers(0, 30),
    repetition=st.sampled_from([0.5, 1.0, 1.3]),
    presence=st.sampled_from([-2.0, 0.0, 1.5]),
    frequency=st.sampled_from([-1.0, 0.0, 0.7]),
    forbids=st.booleans(),
)
def test_penalties_bias_and_forbidden_tokens_change_the_likeliest(
    samplers: dict[int, KernelSampler],
    size: int,
    seed: int,
    repetition: float,
    presence: float,
    frequency: float,
    forbids: bool,
) -> None:
    logits = _logits(size, seed, 1.0)
    likely = np.argsort(-logits)[:6].tolist()
    history = TokenHistory(np.array(likely[:3]), 10)
    for token in (likely[1], likely[1], likely[3]):
        history.append(token)
    options = SamplingOptions(
        max_tokens=1,
        seed=0,
        temperature=0.0,
        repetition_penalty=repetition,
        presence_penalty=presence,
        frequency_penalty=frequency,
        logit_bias=LogitBias.of({likely[0]: -1.0, likely[4]: 0.25}),
    )
    forbidden = likely[:2] if forbids else []
    expected = forbid(penalize(logits, options, history), forbidden)
    token = _choose(samplers[size], logits, options, 0.5, history, forbidden)
    assert expected[token] >= expected.max() - 1e-5


def test_greedy_takes_the_first_of_equal_ones(samplers: dict[int, KernelSampler]) -> None:
    logits = np.zeros(300, np.float32)
    logits[[7, 40, 299]] = 2.0
    options = SamplingOptions(max_tokens=1, seed=0, temperature=0.0)
    assert _choose(samplers[300], logits, options, 0.9) == 7


def test_of_equal_tokens_at_the_edge_the_lowest_ids_are_kept(
    samplers: dict[int, KernelSampler],
) -> None:
    options = SamplingOptions(max_tokens=1, seed=0, top_k=3)
    logits = np.zeros(300, np.float32)
    chosen = {
        _choose(samplers[300], logits, options, uniform) for uniform in np.linspace(0, 0.999, 30)
    }
    assert chosen == {0, 1, 2}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_told(
    samplers: dict[int, KernelSampler], value: float
) -> None:
    logits = np.zeros(300, np.float32)
    logits[290] = value
    for temperature in (0.0, 1.0):
        options = SamplingOptions(max_tokens=1, seed=0, temperature=temperature)
        assert _choose(samplers[300], logits, options, 0.5) == NOT_FINITE


@many
@given(
    size=st.sampled_from(SIZES),
    seed=st.integers(0, 30),
    spread=st.sampled_from([0.0, 1.0, 30.0]),
    top=st.integers(0, 20),
)
def test_log_probabilities_are_those_of_doubles(
    samplers: dict[int, KernelSampler], size: int, seed: int, spread: float, top: int
) -> None:
    logits = _logits(size, seed, spread)
    token = seed % size
    found = samplers[size].answer(logits, Score(0, token, top)).logprob
    assert found is not None
    precise = logits.astype(np.float64)
    expected = precise - precise.max() - np.log(np.exp(precise - precise.max()).sum())
    likeliest = np.argsort(-logits, kind="stable")[:top]
    assert found.logprob == pytest.approx(expected[token], abs=1e-5)
    assert [t for t, _ in found.top] == likeliest.tolist()
    assert [v for _, v in found.top] == pytest.approx(expected[likeliest].tolist(), abs=1e-5)


# Probabilities below e^-87 have ever fewer digits in a float, and below e^-103 are 0.
EXACT_ABOVE = -85


@many
@given(
    size=st.sampled_from(SIZES),
    seed=st.integers(0, 30),
    spread=st.sampled_from([0.0, 1.0, 5.0, 30.0]),
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
    top_k=st.sampled_from([0, 1, 3, 40]),
    top_p=st.sampled_from([1.0, 0.9, 0.5]),
    min_p=st.sampled_from([0.0, 0.05, 1.0]),
    penalty=st.sampled_from([1.0, 1.3]),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_processed_log_probabilities_are_those_of_what_is_drawn_from(
    samplers: dict[int, KernelSampler],
    size: int,
    seed: int,
    spread: float,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    penalty: float,
    uniform: float,
) -> None:
    """Both samplers tell those of the tokens that may come, and of no others; they sum up to 1."""
    logits = _logits(size, seed, spread)
    options = SamplingOptions(
        max_tokens=1,
        seed=0,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=penalty,
        logit_bias=LogitBias.of({seed % size: 1.5}),
        logprobs=size,
        processed_logprobs=True,
    )
    history = TokenHistory(np.array([seed % size]), 4)
    draw = Draw(options, history, (), size, 0, uniform)
    row = penalize(logits, options, history)
    for answer in (samplers[size].answer(logits, draw), reference(logits, draw)):
        found = answer.logprob
        assert found is not None and dict(found.top)[answer.token] == found.logprob
        values = np.array([value for _, value in found.top])
        assert np.exp(values).sum() == pytest.approx(1, abs=1e-4)
        assert (np.diff(values) <= 0).all()
        scaled = row[[token for token, _ in found.top]] / (temperature or 1.0)
        # Beside each other they are as their logits are, whatever was left out.
        apart, expected = values - values[0], scaled - scaled[0]
        exact = expected > EXACT_ABOVE
        assert apart[exact] == pytest.approx(expected[exact], abs=1e-3 * max(1, spread))
        assert apart[~exact] == pytest.approx(expected[~exact], abs=1)
        if temperature and 0 < top_k < size:
            assert len(values) <= top_k
        if temperature and top_p == 1 and min_p == 0 and np.ptp(row) / temperature < -EXACT_ABOVE:
            assert len(values) == (min(top_k, size) if top_k else size)
