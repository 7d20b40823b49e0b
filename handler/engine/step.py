"""The inputs and outputs of one step of a model."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from handler.engine.grammar_tokens import Mask
from handler.engine.options import SamplingOptions
from handler.older_pythons import SLOTS

# int32 [count, 3]: token, slot, position. Those of one slot stand together, in order of positions.
Rows = npt.NDArray[np.int32]


class TokenHistory:
    """The distinct tokens of a sequence, and how often its completion holds each.

    Both arrays stay where they are in memory, so that a model may keep their addresses.
    """

    def __init__(self, prompt: npt.NDArray[np.integer], capacity: int) -> None:
        distinct = np.unique(prompt)
        self.all_ids = np.empty(len(distinct) + capacity, np.int32)
        self.all_counts = np.zeros(len(distinct) + capacity, np.float32)
        self.all_ids[: len(distinct)] = distinct
        self.length = len(distinct)
        self._position = {int(token): i for i, token in enumerate(distinct)}

    def append(self, token: int) -> None:
        """Note a token that was generated."""
        position = self._position.get(token)
        if position is None:
            position = self._position[token] = self.length
            self.all_ids[position] = token
            self.length += 1
        self.all_counts[position] += 1

    @property
    def ids(self) -> npt.NDArray[np.int32]:
        """Distinct token ids, int32 [length]."""
        return self.all_ids[: self.length]

    @property
    def counts(self) -> npt.NDArray[np.float32]:
        """How often the completion (not the prompt) holds each of `ids`, float32 [length]."""
        return self.all_counts[: self.length]


@dataclass(frozen=True, **SLOTS)
class TokenLogprob:
    """Natural log probability of a token and of the likeliest ones.

    Before any sampling option; with `processed_logprobs` behind all of them, and then no token is
    among the likeliest that could not come.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(eq=False, **SLOTS)
class Draw:
    """Choose the token that follows a row. Kept by its sequence from step to step.

    Attributes:
        options: What may be chosen.
        history: Tokens so far, where options penalize them.
        forbidden: Tokens that may not be chosen in this step.
        allowed: Of all tokens a bit, the lowest of each word first: whether it may be chosen. None
            allows all; else the array stays the same from step to step, and its content may not.
        top: None: no log probability; else that of the token, and of the `top` likeliest ones.
        row: Index among the step's rows; several draws may name the same.
        uniform: A number in [0, 1).
        ends: Tokens after which nothing follows.
        compiled: What the model keeps of it between steps.
    """

    options: SamplingOptions
    history: TokenHistory | None = None
    forbidden: Collection[int] = ()
    top: int | None = None
    row: int = 0
    uniform: float = 0.0
    allowed: Mask | None = None
    ends: Collection[int] = ()
    compiled: Any = None


@dataclass(frozen=True, **SLOTS)
class Score:
    """The log probability that `token` follows a row, and those of the `top` likeliest tokens."""

    row: int
    token: int
    top: int


@dataclass(frozen=True, **SLOTS)
class Embed:
    """The last hidden states of `count` rows from `row` on; they must be among the step's."""

    row: int
    count: int


Ask = Union[Draw, Score, Embed]


@dataclass(frozen=True, **SLOTS)
class Answer:
    """What came of an ask.

    `token` is `NOT_FINITE` where the row's logits are no numbers, and `BAD_ASK` where a row, a
    token or an option is out of range; nothing else is known then. Of an `Embed` it is `NO_TOKEN`,
    and `hidden` are the states behind the last LayerNorm, float32 [count, width].
    """

    token: int
    logprob: TokenLogprob | None = None
    hidden: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, **SLOTS)
class DecodeStep:
    """A step of `Model.decode`.

    Attributes:
        ended_at: When, in seconds of the monotonic clock.
        tokens: Of each draw the chosen one, or as in an `Answer`.
    """

    ended_at: float
    tokens: list[int]

    @classmethod
    def of(cls, answers: Iterable[Answer]) -> DecodeStep:
        """That of a model which has just run one step."""
        return cls(time.monotonic(), [answer.token for answer in answers])


class Deadline:
    """When steps that follow each other end: any thread may set it while they run."""

    def __init__(self) -> None:
        self._nanoseconds = np.zeros(1, np.int64)
        self.address = self._nanoseconds.ctypes.data

    def set(self, at: float) -> None:
        """Let no step begin that would end later, in seconds of the monotonic clock."""
        self._nanoseconds[0] = int(max(0.0, min(at, LATEST)) * 1e9)

    def advance(self, at: float) -> None:
        """Bring it forward to `at`, if that is earlier."""
        self._nanoseconds[0] = min(int(self._nanoseconds[0]), int(max(0.0, at) * 1e9))


LATEST = 9e9  # seconds, and less than int64 holds in nanoseconds

NOT_FINITE = -1
BAD_ASK = -2
NO_TOKEN = -3
