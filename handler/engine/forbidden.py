"""The tokens that may not come next, from the request's rules and the text so far."""

from __future__ import annotations

from collections.abc import Collection, Sequence


class Forbidden:
    """Gives the same object as long as nothing changes, so that a model need not read it anew."""

    def __init__(
        self,
        never: Collection[int],
        early: Collection[int],
        min_tokens: int,
        words: Sequence[Sequence[int]],
    ) -> None:
        """Begin a text.

        Args:
            never: Tokens that may not come at all.
            early: Tokens that may not be among the first `min_tokens`.
            min_tokens: See there.
            words: Tokens that may not follow each other so; each has at least one.
        """
        self._never = tuple(never)
        self._early = tuple(early)
        self._min_tokens = min_tokens
        self._words = [tuple(word) for word in words]
        self._state: tuple[bool, frozenset[int]] = (False, frozenset())
        self._current = self._never

    def after(self, generated: Sequence[int]) -> tuple[int, ...]:
        """What may not follow the tokens that were generated."""
        is_early = bool(self._early) and len(generated) < self._min_tokens
        ends = frozenset(word[-1] for word in self._words if _ends_with(generated, word[:-1]))
        if self._state != (is_early, ends):
            self._state = (is_early, ends)
            now = {*self._never, *ends, *(self._early if is_early else ())}
            self._current = tuple(now)
        return self._current


def _ends_with(generated: Sequence[int], tokens: tuple[int, ...]) -> bool:
    return not tokens or tuple(generated[-len(tokens) :]) == tokens
