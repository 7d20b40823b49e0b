"""Reports the progress of long work and the remaining time."""

from __future__ import annotations

import time
from collections.abc import Callable

Say = Callable[[str], None]
SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Work of a known size: a line every five seconds, with the time left."""

    def __init__(self, what: str, total: float, say: Say) -> None:
        self._what, self._total, self._say = what, total, say
        self._done = 0.0
        self._began = self._reported = time.monotonic()

    def advance(self, work: float) -> None:
        """Note that so much more of the total is done."""
        self._done += work
        now = time.monotonic()
        if now - self._reported < SECONDS_BETWEEN_LINES or self._done >= self._total:
            return
        self._reported = now
        share = self._done / self._total
        left = (now - self._began) * (1 - share) / share
        self._say(f"  {self._what}: {share:.0%}, about {left:,.0f} s left")
