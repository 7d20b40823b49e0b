"""The moments of a request (begun, first computed, tokens given), for metrics and traces."""

from __future__ import annotations

import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from handler.older_pythons import SLOTS

if TYPE_CHECKING:
    from handler.engine.output import Output

# Upper bounds in seconds of a histogram of times between tokens; one more part has the rest.
GAP_BOUNDS = (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.5, 1, 2.5)


@dataclass(**SLOTS)
class Timings:
    """Moments of one request, in seconds of the machine's monotonic clock.

    Attributes:
        started: When the handler took it in.
        queue_seconds: How long the sequence of its first token waited for a slot.
        scheduled: When that sequence had it.
        first_token: When its first token was sampled, whichever sequence's that was.
        last_token: When its newest one was.
        waited_seconds: Time between tokens, summed over its sequences.
        waits: How many such times there were.
        gaps: How many of them were in each part of GAP_BOUNDS.
    """

    started: float = field(default_factory=time.monotonic)
    queue_seconds: float = 0.0
    scheduled: float = 0.0
    first_token: float | None = None
    last_token: float | None = None
    waited_seconds: float = 0.0
    waits: int = 0
    gaps: list[int] = field(default_factory=lambda: [0] * (len(GAP_BOUNDS) + 1))
    _newest: dict[int, float] = field(default_factory=dict)

    def note(self, output: Output) -> None:
        """Take in one output."""
        if output.token is None:
            return
        self.last_token = now = output.at
        before = self._newest.get(output.index)
        if before is not None:
            self.waited_seconds += now - before
            self.waits += 1
            self.gaps[bisect_left(GAP_BOUNDS, now - before)] += 1
        self._newest[output.index] = now
        if self.first_token is None:
            self.first_token = now
            self.queue_seconds = output.queue_seconds
            self.scheduled = output.admitted_at

    def as_fields(self) -> dict[str, Any] | None:
        """What is reported to the gateway, once a token was generated.

        It runs on the same machine, where all processes have one monotonic clock.
        """
        if self.first_token is None or self.last_token is None:
            return None
        return {
            "scheduled": round(self.scheduled, 6),
            "queued": round(self.queue_seconds, 6),
            "first": round(self.first_token, 6),
            "last": round(self.last_token, 6),
            "waited": round(self.waited_seconds, 6),
            "gaps": self.gaps,
        }
