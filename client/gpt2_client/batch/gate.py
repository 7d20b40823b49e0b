"""Limits concurrent requests: more while the server accepts them, fewer when it refuses."""

from __future__ import annotations

import threading
import time
from enum import Enum


class Outcome(Enum):
    """How a request came back."""

    TAKEN = "answered, whatever the answer was"
    REFUSED = "the server has enough to do"
    LOST = "the server is away"


# Out at once to begin with: one that is slow must not hold up the others.
FIRST = 4
# Of what was out when the server refused one.
KEPT = 0.75


class Gate:
    """Doubles from FIRST on until the first refusal, then grows by one a round and steps back."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = float(min(FIRST, most))
        self._was_refused = False
        self._opens_at = 0.0
        self._inside = 0
        self._changed = threading.Condition()

    @property
    def inside(self) -> int:
        """Requests that are out now."""
        return self._inside

    @property
    def closed_seconds(self) -> float:
        """How long nobody is let in, as the server asked."""
        return max(0.0, self._opens_at - time.monotonic())

    def enter(self) -> None:
        """Wait until one more may go out."""
        with self._changed:
            while self._inside >= int(self._limit) or self.closed_seconds:
                self._changed.wait(self.closed_seconds or None)
            self._inside += 1

    def leave(self, outcome: Outcome, wait: float = 0.0) -> None:
        """Come back; nobody goes for `wait` seconds after that."""
        with self._changed:
            if outcome is Outcome.TAKEN:
                self._limit += 1 / self._limit if self._was_refused else 1
                self._limit = min(self._limit, float(self._most))
            elif outcome is Outcome.REFUSED:
                self._was_refused = True
                self._limit = max(1.0, min(self._limit, self._inside * KEPT))
            self._opens_at = max(self._opens_at, time.monotonic() + wait)
            self._inside -= 1
            self._changed.notify_all()
