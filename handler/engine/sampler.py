"""Logits in, token out, in NumPy: for `engine: torch`, and as the native sampler's reference.

Works on one row at a time, so that a neighbour cannot change the result.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from handler.engine.grammar_tokens import Mask
from handler.engine.options import SamplingOptions
from handler.engine.step import (
    BAD_ASK,
    NOT_FINITE,
    Answer,
    Draw,
    Score,
    TokenHistory,
    TokenLogprob,
)

Row = npt.NDArray[np.float32]

BLOCK = 256
NUCLEUS_BOUNDS = (2.0**-6, 2.0**-11)  # of the likeliest token's weight
GREEDY_BELOW = 1e-5  # dividing by less overflows float32; the likeliest token has all the weight


def penalize(logits: Row, options: SamplingOptions, history: TokenHistory | None) -> Row:
    """Apply logit_bias and the penalties; a new row where anything changes, float32 [vocab].

    Repetition divides positive and multiplies negative logits of all tokens seen (CTRL, Keskar et
    al. 2019); presence and frequency subtract for tokens of the text, as in OpenAI's API.
    """
    bias = options.logit_bias
    if bias is None and (history is None or not options.penalizes):
        return logits
    logits = logits.copy()
    if history is not None and options.penalizes:
        values = logits[history.ids]
        if options.repetition_penalty != 1.0:
            penalty = np.float32(options.repetition_penalty)
            values *= np.where(values > 0, 1 / penalty, penalty).astype(np.float32)
        counts = history.counts
        values -= np.float32(options.frequency_penalty) * counts
        values -= np.float32(options.presence_penalty) * (counts > 0)
        logits[history.ids] = values
    if bias is not None:
        logits[bias.ids] += bias.values
    return logits


def forbid(logits: Row, tokens: Collection[int]) -> Row:
    """A row in which none of `tokens` can be chosen."""
    if not tokens:
        return logits
    logits = logits.copy()
    logits[list(tokens)] = -np.inf
    return logits


def allow(logits: Row, mask: Mask | None) -> Row:
    """A row in which no token can be chosen but those of a mask."""
    if mask is None:
        return logits
    bits = np.unpackbits(mask.view(np.uint8), bitorder="little")[: len(logits)]
    return np.where(bits, logits, np.float32(-np.inf))


def candidates(
    logits: Row, options: SamplingOptions
) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.float32]]:
    """The tokens that may come next and their weights (not normalised).

    Temperature, then top_k, then top_p, then min_p. Ids None means: all, in order.
    """
    ids: npt.NDArray[np.int64] | None = None
    if 0 < options.top_k < len(logits):
        ids = np.argpartition(logits, -options.top_k)[-options.top_k :]
        ids.sort()
        logits = logits[ids]
    weights = logits - logits.max()
    if options.temperature != 1.0:
        weights *= np.float32(1.0 / options.temperature)
    np.exp(weights, out=weights)
    if options.top_p < 1.0:
        chosen = _nucleus(weights, options.top_p)
        ids = chosen if ids is None else ids[chosen]
        weights = weights[chosen]
    if options.min_p > 0.0:
        chosen = np.flatnonzero(weights >= np.float32(options.min_p) * weights.max())
        ids = chosen if ids is None else ids[chosen]
        weights = weights[chosen]
    return ids, weights


def _nucleus(weights: Row, top_p: float) -> npt.NDArray[np.int64]:
    """Indices of the fewest weights that together reach `top_p` of the sum (Holtzman et al. 2019).

    Only weights above a bound are sorted: a high one first, which does for most rows. The last is
    certain: weights below (1 - top_p) / len of the sum never belong to them, since all such weights
    together do not make up what may be left out.
    """
    total = float(weights.sum())
    wanted = top_p * total
    likely: npt.NDArray[np.int64] = np.empty(0, np.int64)
    chosen = weights
    for bound in (*NUCLEUS_BOUNDS, (1.0 - top_p) / len(weights) * total):
        likely = np.flatnonzero(weights >= np.float32(bound))
        chosen = weights[likely]
        if float(chosen.sum()) >= wanted:
            break
    descending = np.sort(chosen)[::-1]
    cumulative = np.cumsum(descending, dtype=np.float64)
    count = min(int(np.searchsorted(cumulative, wanted)), len(descending) - 1) + 1
    kept: npt.NDArray[np.int64] = likely[chosen >= descending[count - 1]]
    if len(kept) > count:  # equal weights at the edge: the lowest ids of them
        edge = weights[kept] == descending[count - 1]
        kept = kept[~edge | (np.cumsum(edge) <= edge.sum() - (len(kept) - count))]
    return kept


def sample(logits: Row, options: SamplingOptions, uniform: float) -> int:
    """Choose a token by inverse transform sampling.

    Args:
        logits: float32 [vocab], already penalised.
        options: What may be chosen.
        uniform: A number in [0, 1).
    """
    if options.temperature < GREEDY_BELOW:
        return int(logits.argmax())
    ids, weights = candidates(logits, options)
    index = _draw(weights, uniform)
    return index if ids is None else int(ids[index])


def _draw(weights: Row, uniform: float) -> int:
    """The index at which the running sum passes `uniform` of the whole: block first, then within.

    Summing blocks is many times faster than a running sum over a whole vocabulary.
    """
    starts = np.arange(0, len(weights), BLOCK)
    blocks = np.cumsum(np.add.reduceat(weights, starts), dtype=np.float64)
    point = min(uniform * blocks[-1], np.nextafter(blocks[-1], 0.0))
    block = int(np.searchsorted(blocks, point, side="right"))
    before = blocks[block - 1] if block else 0.0
    inner = weights[starts[block] : starts[block] + BLOCK]
    within = np.cumsum(inner, dtype=np.float64) + before
    # Rounding may leave the point just behind the block: then its last possible token is meant.
    index = min(int(np.searchsorted(within, point, side="right")), np.flatnonzero(inner)[-1])
    return int(starts[block] + index)


def token_logprob(logits: Row, token: int, top: int) -> TokenLogprob:
    """Log probability of `token` and of the `top` likeliest tokens, from raw logits [vocab]."""
    highest = float(logits.max())
    log_sum = highest + float(np.log(np.exp(logits - np.float32(highest)).sum()))
    best: tuple[tuple[int, float], ...] = ()
    if top:
        top = min(top, len(logits))
        ids = np.argpartition(logits, -top)[-top:]
        ids = ids[np.lexsort((ids, -logits[ids]))]
        best = tuple((int(i), float(logits[i]) - log_sum) for i in ids)
    return TokenLogprob(token, float(logits[token]) - log_sum, best)


def drawn_logprob(row: Row, options: SamplingOptions, token: int, top: int) -> TokenLogprob:
    """As `token_logprob`, of what a penalised row [vocab] is drawn from."""
    if options.temperature < GREEDY_BELOW:
        found = token_logprob(row, token, top)
        return TokenLogprob(token, found.logprob, tuple(p for p in found.top if np.isfinite(p[1])))
    ids, weights = candidates(row, options)
    ids = np.arange(len(row)) if ids is None else ids
    order = np.lexsort((ids, -weights))
    with np.errstate(divide="ignore"):
        logprobs = np.log(weights.astype(np.float64)) - np.log(weights.sum(dtype=np.float64))
    best = [(int(ids[i]), float(logprobs[i])) for i in order[:top] if weights[i] > 0]
    (place,) = np.flatnonzero(ids == token)
    return TokenLogprob(token, float(logprobs[place]), tuple(best))


def answer(logits: Row, ask: Draw | Score) -> Answer:
    """Answer what is asked of a row, float32 [vocab], as the model gave it."""
    if not np.isfinite(logits.max()):  # NaN is the maximum of whatever it is among
        return Answer(NOT_FINITE)
    if isinstance(ask, Score):
        return Answer(ask.token, token_logprob(logits, ask.token, ask.top))
    if ask.allowed is not None and len(ask.allowed) != (len(logits) + 31) // 32:
        return Answer(BAD_ASK)
    row = forbid(penalize(logits, ask.options, ask.history), ask.forbidden)
    row = allow(row, ask.allowed)
    if not np.isfinite(row.max()):
        return Answer(NOT_FINITE)
    token = sample(row, ask.options, ask.uniform)
    if ask.top is None:
        return Answer(token)
    if ask.options.processed_logprobs:
        return Answer(token, drawn_logprob(row, ask.options, token, ask.top))
    return Answer(token, token_logprob(logits, token, ask.top))


class Uniforms:
    """Random numbers in [0, 1), one for each token of a text.

    Token i's depends on nothing but the seed, the index of the text and i (Philox).
    """

    def __init__(self, seed: int, sample_index: int) -> None:
        key = np.array([seed % 2**64, sample_index], np.uint64)
        self._generator = np.random.Generator(np.random.Philox(key=key))
        self._drawn: npt.NDArray[np.float64] = np.empty(0)
        self._used = 0

    def next(self, count: int) -> npt.NDArray[np.float64]:
        """Those of the next `count` tokens, float64 [count]; they stay the next ones."""
        missing = self._used + count - len(self._drawn)
        if missing > 0:
            more = self._generator.random(max(missing, BLOCK))
            self._drawn = np.concatenate([self._drawn[self._used :], more])
            self._used = 0
        return self._drawn[self._used : self._used + count]

    def use(self) -> None:
        """Go on to the next token."""
        self.next(1)
        self._used += 1
