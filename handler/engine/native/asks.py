"""The records that sequences pass to a step in C (ask.h), kept from step to step."""

from __future__ import annotations

import ctypes
import math
from array import array
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from handler.engine.options import SamplingOptions
from handler.engine.step import Answer, Draw, Score, TokenHistory, TokenLogprob

NO_LOGPROB = -1
CHOOSE = -1
SMALLEST = float(np.finfo(np.float32).tiny)

_NO_TOKENS = np.empty(0, np.int32)
_NO_VALUES = np.empty(0, np.float32)


class Sampling(ctypes.Structure):
    """`Sampling` of sample.h."""

    _fields_ = [
        *((name, ctypes.c_float) for name in ("temperature", "top_p", "min_p")),
        ("top_k", ctypes.c_int32),
        *((f"{name}_penalty", ctypes.c_float) for name in ("repetition", "presence", "frequency")),
        *((name, ctypes.c_int32) for name in ("seen_count", "seen_room", "bias_count")),
        *((name, ctypes.c_void_p) for name in ("seen_token", "seen_times", "bias_token", "bias")),
        ("allowed", ctypes.c_void_p),
        ("allowed_words", ctypes.c_int32),
        ("uniform", ctypes.c_double),
    ]


class Record(ctypes.Structure):
    """`Ask` of ask.h."""

    _anonymous_ = ("sampling",)
    _fields_ = [
        ("sampling", Sampling),
        *((name, ctypes.c_void_p) for name in ("top_token", "top_value")),
        *((name, ctypes.c_int32) for name in ("top", "is_drawn", "given", "row", "end_count")),
        ("end_token", ctypes.c_void_p),
        ("token", ctypes.c_int32),
        ("log_probability", ctypes.c_double),
        ("place", ctypes.c_int32),
    ]


class _Ask:
    """A record, and the arrays that it points at."""

    __slots__ = ("_tops", "address", "record")

    def __init__(self, top: int | None) -> None:
        self.record = Record()
        self.address = ctypes.addressof(self.record)
        room = max(top or 0, 0)
        self._tops = (np.empty(room, np.int32), np.empty(room, np.float64))
        self.record.top = NO_LOGPROB if top is None else top
        self.record.top_token, self.record.top_value = (each.ctypes.data for each in self._tops)

    def answer(self) -> Answer:
        """What the step wrote."""
        record = self.record
        token: int = record.token
        if token < 0 or record.top == NO_LOGPROB:
            return Answer(token)
        tokens, values = self._tops
        top = tuple(zip(tokens.tolist(), values.tolist()))
        if record.is_drawn:
            top = tuple(pair for pair in top if pair[1] > -math.inf)
        return Answer(token, TokenLogprob(token, record.log_probability, top))


class _DrawAsk(_Ask):
    """What a `Draw` keeps as `compiled`."""

    __slots__ = ("_added", "_allowed", "_ends", "_forbidden", "_history")

    def __init__(self, draw: Draw, vocabulary: int) -> None:
        super().__init__(None if draw.top is None else min(draw.top, vocabulary))
        options, record = draw.options, self.record
        record.given = CHOOSE
        record.is_drawn = options.processed_logprobs
        for name in ("temperature", "top_p", "min_p"):
            setattr(record, name, getattr(options, name))
        for name in ("repetition_penalty", "presence_penalty", "frequency_penalty"):
            setattr(record, name, getattr(options, name))
        # What C's numbers cannot hold becomes the nearest that means the same.
        record.top_k = min(options.top_k, vocabulary)
        if options.top_p > 0.0:
            record.top_p = max(options.top_p, SMALLEST)
        self._history: TokenHistory | None = draw.history if options.penalizes else None
        if self._history is not None:
            record.seen_token = self._history.all_ids.ctypes.data
            record.seen_times = self._history.all_counts.ctypes.data
            record.seen_room = len(self._history.all_ids)
        self._ends = np.fromiter(draw.ends, np.int32)
        record.end_token, record.end_count = self._ends.ctypes.data, len(self._ends)
        self._allowed = draw.allowed
        if self._allowed is not None:
            record.allowed = self._allowed.ctypes.data
            record.allowed_words = len(self._allowed)
        self._forbid(options, draw.forbidden)

    def set(self, draw: Draw) -> None:
        """Write what is new at this step."""
        record = self.record
        record.row = draw.row
        record.uniform = draw.uniform
        if self._history is not None:
            record.seen_count = self._history.length
        if draw.forbidden is not self._forbidden:
            self._forbid(draw.options, draw.forbidden)

    def _forbid(self, options: SamplingOptions, forbidden: Collection[int]) -> None:
        """Point at what is added to logits: the request's bias, and -inf for forbidden tokens."""
        given = options.logit_bias
        tokens: npt.NDArray[np.int32] = _NO_TOKENS
        values: npt.NDArray[np.float32] = _NO_VALUES
        if given is not None:
            tokens = given.ids.clip(-1, np.iinfo(np.int32).max).astype(np.int32)
            values = given.values
        if forbidden:
            never = np.fromiter(forbidden, np.int32)
            tokens = np.concatenate([tokens, never])
            values = np.concatenate([values, np.full(len(never), -np.inf, np.float32)])
        self._forbidden, self._added = forbidden, (tokens, values)
        self.record.bias_count = len(tokens)
        self.record.bias_token, self.record.bias = tokens.ctypes.data, values.ctypes.data


def _score(score: Score, vocabulary: int) -> _Ask:
    ask = _Ask(min(score.top, vocabulary))
    # ctypes would keep the low bits of what is too large.
    ask.record.given = score.token if 0 <= score.token < vocabulary else vocabulary
    ask.record.row = score.row
    return ask


class Asks:
    """The records of one step's asks, in their order."""

    def __init__(self, asks: Sequence[Draw | Score], vocabulary: int) -> None:
        self._asks: list[_Ask] = []
        for ask in asks:
            if isinstance(ask, Draw):
                held = ask.compiled
                if held is None:
                    held = ask.compiled = _DrawAsk(ask, vocabulary)
                held.set(ask)
                self._asks.append(held)
            else:
                self._asks.append(_score(ask, vocabulary))
        self._addresses = array("Q", [ask.address for ask in self._asks])

    def __len__(self) -> int:
        return len(self._asks)

    @property
    def address(self) -> int:
        """Of the array of their addresses."""
        return self._addresses.buffer_info()[0]

    def answers(self) -> list[Answer]:
        """What the step wrote into them; a token of `BAD_ASK` for what could not be asked."""
        return [ask.answer() for ask in self._asks]
