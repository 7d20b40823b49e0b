"""The sampling state of one sequence; knows nothing of its text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from handler.engine.forbidden import Forbidden
from handler.engine.grammar import Matcher
from handler.engine.options import SamplingOptions
from handler.engine.sampler import Uniforms
from handler.engine.step import Draw, TokenHistory


class SamplingState:
    """Random numbers, what is forbidden, the grammar, and tokens so far where they are penalized.

    Attributes:
        ends: Tokens after which nothing follows.
    """

    def __init__(
        self,
        prompt: npt.NDArray[np.integer],
        options: SamplingOptions,
        ends: frozenset[int],
        *,
        is_first: bool,
    ) -> None:
        """Begin a sequence.

        Args:
            prompt: Token ids, [tokens].
            options: How it is generated.
            ends: Tokens after which nothing follows.
            is_first: Whether the first token begins the text that a grammar sees.
        """
        self.ends = ends
        self._options = options
        self._uniforms = Uniforms(options.seed, options.sample_index)
        self._forbidden = Forbidden(options.never, ends, options.min_tokens, options.bad_words)
        self._matcher: Matcher | None = None
        if options.grammar is not None:
            self._matcher = options.grammar.matcher(is_first=is_first)
        self._draw = Draw(
            options,
            TokenHistory(prompt, options.max_tokens) if options.penalizes else None,
            self._forbidden.after(()),
            (options.logprobs or 0) if options.logprobs is not None or options.ranked else None,
            allowed=self._matcher.allowed if self._matcher else None,
            ends=ends,
        )

    def draw(self, row: int, generated: Sequence[int]) -> Draw:
        """Ask for the token after those that were generated, from the logits of a step's `row`."""
        if self._matcher is not None:
            self._matcher.advance()
        draw = self._draw
        draw.row = row
        draw.uniform = float(self._uniforms.next(1)[0])
        draw.forbidden = self._forbidden.after(generated)
        return draw

    def uniforms(self, count: int) -> npt.NDArray[np.float64]:
        """The random numbers of the next `count` tokens, float64 [count]."""
        return self._uniforms.next(count)

    def add(self, token: int) -> None:
        """Go on behind a token."""
        self._uniforms.use()
        if self._matcher is not None and token not in self.ends:
            self._matcher.take(token)
        if self._draw.history is not None:
            self._draw.history.append(token)

    def num_foreseeable(self, count: int) -> int:
        """How many tokens can be drawn behind `count`, before any of them has to be seen.

        At least one. Tokens that end the sequence may be among them.
        """
        options = self._options
        looks = options.stop or options.bad_words or self._matcher or self._draw.top is not None
        if not count or looks:
            return 1
        left = options.max_tokens - count
        early = options.min_tokens - count
        return min(left, early) if early > 0 else left

    @property
    def has_grammar(self) -> bool:
        """Whether a grammar says what may come."""
        return self._matcher is not None

    @property
    def is_restricted(self) -> bool:
        """Whether the request itself, and not the model, may leave no token that can come."""
        return bool(self._draw.forbidden) or self._matcher is not None

    def is_complete(self, count: int) -> bool:
        """Whether nothing can follow `count` tokens by the grammar; a draw says it if more must."""
        if self._matcher is None or count < self._options.min_tokens:
            return False
        return self._matcher.is_complete
