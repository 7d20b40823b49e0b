"""How many sequences may run and wait, and when to come back if they are too many."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable

from gateway.errors import BadRequest, TooManyRequests


class SequenceLimit:
    """Counts sequences in flight, and refuses more than may run and wait.

    A request that generates nothing counts as one.
    """

    # Only this stretch of the past says how fast sequences end.
    WINDOW_SECONDS = 30.0

    def __init__(self, max_waiting: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_waiting = max_waiting
        self.in_flight = 0
        self._clock = clock
        self._ended: deque[tuple[float, int]] = deque()

    def enter(self, sequences: int, capacity: int, most_at_once: int = sys.maxsize) -> None:
        """Let `sequences` in where at most `capacity` run at once.

        `most_at_once` is what one request may have, since it goes to one replica.

        Raises:
            TooManyRequests: Too many would wait; says when to come back.
            BadRequest: So many could never be let in.
        """
        most = capacity + self.max_waiting
        if sequences > min(most, most_at_once):
            raise BadRequest(
                "The request asks for too many sequences at once (prompts x `n` or `best_of`); "
                f"at most {min(most, most_at_once)} are allowed",
                param="n",
                code="too_many_texts",
            )
        if self.in_flight + sequences > max(capacity, most):
            seconds = self.retry_after(self.in_flight + sequences - most)
            raise TooManyRequests(
                f"The service is full; try again in {seconds} s", code="full", retry_after=seconds
            )
        self.in_flight += max(1, sequences)

    def leave(self, sequences: int) -> None:
        """Note that `sequences` ended, however they did."""
        self.in_flight -= max(1, sequences)
        if not sequences:
            return
        now = self._clock()
        self._ended.append((now, sequences))
        while self._ended[0][0] < now - self.WINDOW_SECONDS:
            self._ended.popleft()

    def retry_after(self, sequences: int) -> int:
        """Return the seconds in which `sequences` will end, at the speed of late (1 to 60)."""
        now = self._clock()
        recent = [(at, count) for at, count in self._ended if at > now - self.WINDOW_SECONDS]
        if not recent:
            return 5
        span = max(1.0, now - recent[0][0])
        rate = sum(count for _, count in recent) / span
        return min(60, max(1, math.ceil(sequences / rate)))
