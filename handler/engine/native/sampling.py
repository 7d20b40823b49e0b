"""Sampling in C: Python's side of sample.h."""

from __future__ import annotations

import ctypes
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from handler.engine.options import SamplingOptions
from handler.engine.step import NOT_FINITE, Answer, Draw, Score, TokenLogprob
from handler.errors import ModelError

Row = npt.NDArray[np.float32]
_NO_TOKENS = np.empty(0, np.int32)
_NO_FLOATS = np.empty(0, np.float32)


class Sampling(ctypes.Structure):
    """`Sampling` of sample.h."""

    _fields_ = [
        *((name, ctypes.c_float) for name in ("temperature", "top_p", "min_p")),
        ("top_k", ctypes.c_int32),
        *((f"{name}_penalty", ctypes.c_float) for name in ("repetition", "presence", "frequency")),
        *((name, ctypes.c_int32) for name in ("seen_count", "bias_count")),
        *((name, ctypes.c_void_p) for name in ("seen_token", "seen_times", "bias_token", "bias")),
        ("uniform", ctypes.c_double),
    ]


class NativeSampler:
    """Answers what is asked of a row's logits."""

    def __init__(self, library: ctypes.CDLL, vocabulary: int) -> None:
        self._library = library
        self._vocabulary = vocabulary
        self._sampler: int | None = library.gpt2_create_sampler(vocabulary)
        if not self._sampler:
            raise ModelError("there is no memory to sample in")

    def __del__(self) -> None:
        if self._sampler:
            self._library.gpt2_destroy_sampler(self._sampler)
            self._sampler = None

    def answer(self, logits: Row, ask: Draw | Score) -> Answer:
        """Answer what is asked of a row, float32 [vocab], as the model gave it."""
        row = self._row(logits)
        if isinstance(ask, Score):
            found = self._logprob(row, ask.token, ask.top)
            return Answer(ask.token if np.isfinite(found.logprob) else NOT_FINITE, found)
        token = self._choose(row, ask)
        if token == NOT_FINITE or ask.top is None:
            return Answer(token)
        return Answer(token, self._logprob(row, token, ask.top))

    def _choose(self, logits: Row, ask: Draw) -> int:
        options, history, forbidden = ask.options, ask.history, ask.forbidden
        seen, times = _NO_TOKENS, _NO_FLOATS
        if history is not None:
            seen, times = history.ids, history.counts
        bias_token, bias = _bias(options, forbidden)
        sampling = Sampling(
            *(options.temperature, options.top_p, options.min_p, options.top_k),
            *(options.repetition_penalty, options.presence_penalty, options.frequency_penalty),
            *(len(seen), len(bias_token)),
            *(each.ctypes.data for each in (seen, times, bias_token, bias)),
            ask.uniform,
        )
        token = int(
            self._library.gpt2_sample(self._sampler, logits.ctypes.data, ctypes.addressof(sampling))
        )
        if token < NOT_FINITE:
            raise ValueError("a token id is outside the vocabulary")
        return token

    def _logprob(self, logits: Row, token: int, top: int) -> TokenLogprob:
        top = min(top, self._vocabulary)
        tokens, values = np.empty(top, np.int32), np.empty(top, np.float64)
        found = self._library.gpt2_log_probability(
            logits.ctypes.data, self._vocabulary, token, top,
            tokens.ctypes.data, values.ctypes.data,
        )  # fmt: skip
        best = tuple(zip(tokens.tolist(), values.tolist(), strict=True))
        return TokenLogprob(token, float(found), best)

    def _row(self, logits: Row) -> Row:
        if logits.shape != (self._vocabulary,):
            raise ValueError(f"logits must be float32 [{self._vocabulary}]")
        return np.ascontiguousarray(logits, np.float32)


def _bias(
    options: SamplingOptions, forbidden: Collection[int]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """What is added to logits: the request's bias, and -inf for forbidden tokens."""
    given = options.logit_bias
    tokens = _NO_TOKENS if given is None else given.ids.astype(np.int32)
    values = _NO_FLOATS if given is None else given.values
    if not forbidden:
        return tokens, values
    return (
        np.concatenate([tokens, np.fromiter(forbidden, np.int32)]),
        np.concatenate([values, np.full(len(forbidden), -np.inf, np.float32)]),
    )
