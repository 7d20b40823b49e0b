"""The output of one step for one sequence."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from handler.engine.step import TokenLogprob
from handler.older_pythons import SLOTS

# Why a sequence ended with an error: the engine could not go on, its grammar could not, or what its
# request allows left no token.
FAILED, GRAMMAR, NOTHING_ALLOWED = "failed", "grammar", "nothing_allowed"


@dataclass(frozen=True, **SLOTS)
class LogprobEntry:
    """A token's log probability and where in the written text the token begins (characters)."""

    logprob: TokenLogprob | None
    token: int
    text_offset: int


@dataclass(**SLOTS)
class Output:
    """What one step added to one sequence. `at`: when, in seconds of the monotonic clock."""

    request_id: str
    index: int
    text: str = ""
    token: int | None = None
    logprob: float | None = None  # of the token, where they are asked for
    logprobs: list[LogprobEntry] = field(default_factory=list)
    prompt_logprobs: list[TokenLogprob | None] | None = None
    vector: npt.NDArray[np.float64] | None = None  # of the prompt, where that is pooled
    finish_reason: str | None = None
    error: str | None = None
    error_kind: str = FAILED
    cached_tokens: int = 0
    queue_seconds: float = 0.0
    # When it got its slot, in seconds of the monotonic clock; reported with its first token.
    admitted_at: float = 0.0
    at: float = field(default_factory=time.monotonic)
    # Whether whoever waits for it is to have it at once, and not with what comes after it.
    is_urgent: bool = False

    @property
    def is_last(self) -> bool:
        """Whether the sequence has ended."""
        return self.finish_reason is not None or self.error is not None
