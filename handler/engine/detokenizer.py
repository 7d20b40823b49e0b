"""Token ids to text, piece by piece: bytes that are not yet a character wait for the rest.

Knows nothing of models or requests.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from handler.engine.pieces import Pieces


class Detokenizer:
    """Writes the text of one sequence as its tokens come: the pieces joined are the whole decode.

    Tokens in `hidden` write nothing and part nothing. `is_first` says whether a text begins here,
    or another one is gone on with.
    """

    def __init__(self, pieces: Pieces, hidden: frozenset[int], *, is_first: bool = True) -> None:
        self._pieces = pieces
        self._hidden = hidden
        self._bytes = pieces.first if is_first else pieces.following
        self._run: list[int] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The characters that this token completes; may be none."""
        if token in self._hidden:
            return ""
        if token in self._pieces.in_runs:
            self._run.append(token)
            return ""
        before = self._end_run() if self._run else ""
        text = self._decoder.decode(self._bytes[token])
        self._bytes = self._pieces.following
        return before + text

    def finish(self) -> str:
        """What is left: U+FFFD for a character that never became whole."""
        return self._end_run() + self._decoder.decode(b"", final=True)

    def _end_run(self) -> str:
        if not self._run:
            return ""
        text = self._pieces.run(self._run, is_first=self._bytes is not self._pieces.following)
        self._run, self._bytes = [], self._pieces.following
        return text


class StopMatcher:
    """Holds back text that may be the beginning of a stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """The text that may be shown, and whether a stop string was met (it is not shown)."""
        if not self._stops:
            return text, False
        self._held += text
        found = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if found:
            return self._held[: min(found)], True
        keep = max(self._overlap(stop) for stop in self._stops)
        shown = self._held[: len(self._held) - keep]
        self._held = self._held[len(self._held) - keep :]
        return shown, False

    def finish(self) -> str:
        """What was held back and turned out to be no stop string."""
        held, self._held = self._held, ""
        return held

    def _overlap(self, stop: str) -> int:
        """Length of the longest end of the held text that begins `stop`."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(stop[:n])), 0)
