"""Tells a start that can not succeed from one that takes a few tries."""

from __future__ import annotations

import re
import time
from collections import defaultdict, deque

WITHIN_SECONDS = 60.0
# What differs from one time to the next: numbers of processes, names of temporary files.
PASSING = re.compile(r"[0-9a-f-]{8,}|\d+")


class RepeatedFailure:
    """Counts failures by what was said; the same one `times` within a minute is told."""

    def __init__(self, times: int) -> None:
        self._times: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=times))

    def note(self, reason: str) -> bool:
        """Note a failure that came now; return whether it came too often."""
        times = self._times[PASSING.sub("#", reason)]
        times.append(time.monotonic())
        return len(times) == times.maxlen and times[-1] - times[0] < WITHIN_SECONDS
