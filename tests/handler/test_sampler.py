"""The sampler against plain definitions, and its distribution against the weights it samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from handler.engine.options import LogitBias, SamplingOptions
from handler.engine.sampler import (
    Uniforms,
    candidates,
    penalize,
    sample,
    token_logprob,
)
from handler.engine.step import TokenHistory


def options(**values: object) -> SamplingOptions:
    return SamplingOptions(max_tokens=1, seed=0, **values)  # type: ignore[arg-type]


def plain_probabilities(logits: np.ndarray, o: SamplingOptions) -> np.ndarray:
    """The textbook: softmax, then each filter on its own, over sorted probabilities."""
    p = np.exp((logits - logits.max()).astype(np.float64) / o.temperature)
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    if o.top_k:
        p[order[o.top_k :]] = 0
        p /= p.sum()
    if o.top_p < 1:
        before = np.cumsum(p[order]) - p[order]
        p[order[before >= o.top_p]] = 0
        p /= p.sum()
    p[p < o.min_p * p.max()] = 0
    return p / p.sum()


def row(size: int, seed: int, scale: float = 3.0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(size) * scale).astype(np.float32)


OPTIONS = [
    {},
    {"temperature": 0.5},
    {"top_k": 5},
    {"top_p": 0.8},
    {"min_p": 0.1},
    {"temperature": 1.5, "top_k": 20, "top_p": 0.9, "min_p": 0.02},
]


@pytest.mark.parametrize("values", OPTIONS, ids=str)
def test_the_candidates_are_those_of_the_textbook(values: dict[str, float]) -> None:
    logits, o = row(500, 1), options(**values)
    ids, weights = candidates(logits, o)
    got = np.zeros(len(logits))
    got[slice(None) if ids is None else ids] = weights / weights.sum(dtype=np.float64)
    np.testing.assert_allclose(got, plain_probabilities(logits, o), atol=1e-6)


# 1,000 tokens are several of the sampler's blocks, and no whole number of them.
@pytest.mark.parametrize("size", [60, 1_000])
@pytest.mark.parametrize("values", OPTIONS, ids=str)
def test_samples_are_distributed_as_the_weights_say(values: dict[str, float], size: int) -> None:
    logits, o = row(size, 2, scale=1.5), options(**values)
    draws = 20_000
    numbers = Uniforms(1234, 0).next(draws)
    counts = np.bincount([sample(logits, o, number) for number in numbers], minlength=size)
    expected = plain_probabilities(logits, o) * draws
    assert counts[expected == 0].sum() == 0
    common = expected >= 5
    observed = np.append(counts[common], counts[~common].sum())
    wanted = np.append(expected[common], expected[~common].sum())
    keep = wanted > 0
    assert stats.chisquare(observed[keep], wanted[keep]).pvalue > 1e-3


@settings(deadline=None, max_examples=200)
@given(
    seed=st.integers(0, 2**32),
    uniform=st.floats(0, 1, exclude_max=True),
    temperature=st.floats(0, 2),
    top_k=st.integers(0, 80),
    top_p=st.floats(1e-6, 1),
    min_p=st.floats(0, 1),
)
def test_whatever_the_options_a_possible_token_is_chosen(
    seed: int, uniform: float, temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    logits = row(60, seed, scale=30)
    o = options(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    token = sample(logits, o, uniform)
    assert 0 <= token < 60
    if temperature < 1e-5 or top_k == 1:
        assert token == logits.argmax()


def test_penalties_follow_their_definitions() -> None:
    history = TokenHistory(np.array([1, 2, 2]), 4)
    for token in (2, 3, 3):
        history.append(token)
    logits = np.array([1.0, 2.0, -2.0, 4.0, 5.0], np.float32)
    o = options(repetition_penalty=2.0, presence_penalty=0.5, frequency_penalty=0.25,
                logit_bias=LogitBias.of({4: -3.0}))  # fmt: skip
    got = penalize(logits, o, history)
    # 1 is in the prompt alone; 2 is in the text once; 3 twice.
    np.testing.assert_allclose(got, [1.0, 1.0, -4.0 - 0.25 - 0.5, 2.0 - 0.5 - 0.5, 2.0])
    assert logits[3] == 4.0


def test_samples_follow_penalties_and_biases() -> None:
    history = TokenHistory(np.array([1, 2]), 1)
    history.append(3)
    o = options(repetition_penalty=1.5, presence_penalty=0.4, logit_bias=LogitBias.of({4: 1.5}))
    logits, draws = row(10, 3, scale=1.0), 20_000
    penalized = penalize(logits, o, history)
    counts = np.bincount(
        [sample(penalized, o, number) for number in Uniforms(7, 0).next(draws)], minlength=10
    )
    wanted = logits.astype(np.float64)
    for token in (1, 2, 3):
        wanted[token] = wanted[token] / 1.5 if wanted[token] > 0 else wanted[token] * 1.5
    wanted[3] -= 0.4
    wanted[4] += 1.5
    expected = plain_probabilities(wanted, options()) * draws
    assert stats.chisquare(counts, expected).pvalue > 1e-3


def test_equally_likely_tokens_at_the_edge_of_the_nucleus_go_by_their_number() -> None:
    logits = np.zeros(1_000, np.float32)
    ids, weights = candidates(logits, options(top_p=0.25))
    assert ids is not None and len(weights) == 250
    assert sorted(ids) == list(range(250))


def test_log_probabilities_are_those_of_the_whole_distribution() -> None:
    logits = row(100, 5)
    exact = logits - np.log(np.exp(logits.astype(np.float64)).sum())
    got = token_logprob(logits, 17, 3)
    assert got.logprob == pytest.approx(exact[17], abs=1e-5)
    assert [token for token, _ in got.top] == list(np.argsort(-exact)[:3])
    assert got.top[0][1] == pytest.approx(exact.max(), abs=1e-5)


def test_each_text_of_a_request_has_its_own_stream_of_numbers() -> None:
    def first(seed: int, index: int) -> float:
        return float(Uniforms(seed, index).next(1)[0])

    assert first(1, 0) == first(1, 0)
    assert first(1, 0) != first(1, 1)
    assert first(-1, 0) == first(2**64 - 1, 0)


def test_a_token_has_the_same_number_however_many_are_looked_at_before() -> None:
    one, many = Uniforms(3, 1), Uniforms(3, 1)
    generator = np.random.Generator(np.random.Philox(key=np.array([3, 1], np.uint64)))
    for ahead in range(600):
        expected = generator.random()
        assert one.next(1)[0] == many.next(1 + ahead % 300)[0] == expected
        one.use()
        many.use()
