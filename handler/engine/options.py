"""The options of one sequence: plain values, validated and with defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from handler.engine.grammar import Grammar
from handler.older_pythons import SLOTS

# How one vector is made of a prompt (`pooling.py`).
MEAN, LAST = "mean", "last"


@dataclass(frozen=True, eq=False, **SLOTS)
class LogitBias:
    """Numbers that are added to logits: distinct token ids, int64 [k], and float32 [k]."""

    ids: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]

    @classmethod
    def of(cls, bias: Mapping[int, float]) -> LogitBias | None:
        """That of a mapping; None where it is empty."""
        if not bias:
            return None
        return cls(np.fromiter(bias, np.int64), np.fromiter(bias.values(), np.float32))


@dataclass(frozen=True, **SLOTS)
class SamplingOptions:
    """Options of one sequence. The seed is always set: equal ones give equal completions."""

    max_tokens: int
    seed: int
    sample_index: int = 0
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: LogitBias | None = None
    stop: tuple[str, ...] = ()
    # Further tokens that end the sequence, and whether what ends it is part of its text.
    stop_tokens: frozenset[int] = frozenset()
    includes_stop: bool = False
    # Tokens that never come, and tokens that never follow each other so.
    never: frozenset[int] = frozenset()
    bad_words: tuple[tuple[int, ...], ...] = ()
    ignore_eos: bool = False
    min_tokens: int = 0
    # None hides the delimiters, True every special token, False none.
    skip_special_tokens: bool | None = None
    logprobs: int | None = None
    # Whether these are of what is drawn from, and not of the logits as they are.
    processed_logprobs: bool = False
    prompt_logprobs: bool = False
    prompt_top: int = 0  # the likeliest tokens that are reported at each of the prompt's
    ranked: bool = (
        False  # whether its tokens' log probabilities are reported even without `logprobs`
    )
    # What the text must be, from its first token to its end.
    grammar: Grammar | None = None
    # MEAN or LAST: what is wanted is a vector of the prompt, and no text.
    pooling: str = ""

    @property
    def reads_all(self) -> bool:
        """Whether every token of the prompt is asked something, so that none may be reused."""
        return self.prompt_logprobs or self.pooling == MEAN

    @property
    def penalizes(self) -> bool:
        """Whether earlier tokens change what may come next."""
        return (
            self.repetition_penalty != 1.0
            or self.presence_penalty != 0.0
            or self.frequency_penalty != 0.0
        )
