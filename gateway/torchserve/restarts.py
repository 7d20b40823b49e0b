"""Decides when TorchServe is restarted, and when to give up."""

from __future__ import annotations

import re
import time
from collections import defaultdict, deque

FIRST_BACK_OFF_SECONDS = 0.5
LONGEST_BACK_OFF_SECONDS = 30.0
REPEATED_WITHIN_SECONDS = 60.0
# What differs from one time to the next: numbers of processes, names of temporary files.
PASSING = re.compile(r"[0-9a-f-]{8,}|\d+")


class GaveUp(Exception):
    """TorchServe could not be kept alive; one line that says why."""


class Restarts:
    """Counts failures of one kind within the last `window` seconds of service.

    The window is of time that was served: five starts that each take the whole START_SECONDS are
    five failures in a row, however long they took.
    """

    def __init__(self, what: str, most: int, window: float) -> None:
        """Begin.

        Args:
            what: What happens each time, as a sentence begins.
            most: So many failures are borne.
            window: Within so many seconds of service.
        """
        self._what = what
        self._most = most
        self._window = window
        # Of each failure, how long had been served when it came.
        self._failures: deque[float] = deque()
        self._served = 0.0
        # Failures of all time.
        self.total = 0

    @property
    def count(self) -> int:
        """Failures of late."""
        return len(self._failures)

    def serve(self, seconds: float) -> None:
        """Note that so much more was served."""
        self._served += seconds

    def fail(self, reason: str) -> float:
        """Note a failure; return how long to wait before the next start.

        Raises:
            GaveUp: There were too many.
        """
        self.total += 1
        self._failures.append(self._served)
        while self._failures[0] < self._served - self._window:
            self._failures.popleft()
        if self.count > self._most:
            raise GaveUp(
                f"{self._what} {self.count} times within {self._window:g} s of service; "
                f"the last time: {reason}"
            )
        if self.count == 1:
            return 0.0
        doublings = min(self.count - 2, 16)
        return float(min(FIRST_BACK_OFF_SECONDS * 2**doublings, LONGEST_BACK_OFF_SECONDS))


class RepeatedFailure:
    """Tells a start that cannot succeed from one that takes a few tries, by what was said."""

    def __init__(self, times: int) -> None:
        self._times: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=times))

    def note(self, reason: str) -> bool:
        """Note a failure that came now; return whether the same came too often in a minute."""
        times = self._times[PASSING.sub("#", reason)]
        times.append(time.monotonic())
        return len(times) == times.maxlen and times[-1] - times[0] < REPEATED_WITHIN_SECONDS
