"""Looks for stop strings in a text that comes in chunks (Knuth, Morris and Pratt 1977).

What a chunk costs depends on its length, not on how long the stop strings are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache


class StopMatcher:
    """Holds back text that may be the beginning of a stop string."""

    def __init__(self, stops: Sequence[str], *, includes_stop: bool = False) -> None:
        self._stops = [_Stop(stop) for stop in stops]
        self._held = ""
        self._includes_stop = includes_stop

    def push(self, text: str) -> tuple[str, bool]:
        """The text that may be shown, and whether a stop string was met.

        That is shown only where it is to be included.
        """
        if not self._stops:
            return text, False
        before = len(self._held)
        self._held += text
        ends = [(stop.advance(text), stop.length) for stop in self._stops]
        found = [(before + end - length, before + end) for end, length in ends if end]
        if found:
            start, end = min(found)
            return self._held[: end if self._includes_stop else start], True
        keep = max(stop.matched for stop in self._stops)
        shown = self._held[: len(self._held) - keep]
        self._held = self._held[len(self._held) - keep :]
        return shown, False

    def finish(self) -> str:
        """What was held back and turned out to be no stop string."""
        held, self._held = self._held, ""
        return held


class _Stop:
    """One stop string, and how much of it the text so far ends with."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._borders = _borders(text)
        self.length = len(text)
        self.matched = 0

    def advance(self, text: str) -> int:
        """Go on with a chunk; where in it the stop string is first complete, or 0."""
        stop, matched = self._text, self.matched
        if not matched and stop[0] not in text:
            return 0
        for length, character in enumerate(text, 1):
            while matched and stop[matched] != character:
                matched = self._borders[matched - 1]
            matched += stop[matched] == character
            if matched == self.length:
                return length
        self.matched = matched
        return 0


@lru_cache(maxsize=512)
def _borders(text: str) -> tuple[int, ...]:
    """For each beginning of a text: how much of its start it ends with, itself apart."""
    borders, border = [0], 0
    for character in text[1:]:
        while border and text[border] != character:
            border = borders[border - 1]
        border += text[border] == character
        borders.append(border)
    return tuple(borders)
