"""The record of one request for the log and the metrics."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

# Fields that are no part of a log line: the route is a metric's label, the client has a field of
# its own, usage is written out, and the engine's moments are for metrics and traces.
APART = ("route", "client", "usage", "times", "entered_at")


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a request that generated, and why each of its sequences ended."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    finish_reasons: list[str]


@dataclass(frozen=True, slots=True)
class EngineTimes:
    """Moments of a request in the engine: `handler.replies.timings.Timings.as_fields`.

    Attributes:
        scheduled: When it had a slot, in seconds of `time.perf_counter` and `time.monotonic`, which
            are one clock of the whole machine.
        queued: Seconds that it waited for that in the handler.
        first: When its first token was there.
        last: When its last one was.
        waited: Seconds between its tokens, in all.
        gaps: How many of them were in each part of the histogram.
    """

    scheduled: float
    queued: float
    first: float
    last: float
    waited: float
    gaps: list[int]


@dataclass(slots=True)
class Record:
    """One request's entry; None is what does not apply to it."""

    route: str = "none"
    client: str = ""
    key: str | None = None
    model: str | None = None
    # How many sequences it generates.
    n: int | None = None
    replica: str | None = None
    retried: bool | None = None
    stream: bool | None = None
    # When it joined the queue, in seconds of `time.perf_counter`.
    entered_at: float | None = None
    # How long it waited for a slot, and until its first token.
    queued_ms: float | None = None
    ttft_ms: float | None = None
    usage: Usage | None = None
    times: EngineTimes | None = None
    language: str | None = None
    ignored_fields: str | None = None
    # Why it was ended early, why its generation failed, and the code of the error it was answered.
    aborted: str | None = None
    failed: str | None = None
    error: str | None = None

    def as_log_fields(self) -> dict[str, Any]:
        """Return what a log line says of it, by the names that the line has for that."""
        line = {name: value for name in LOGGED if (value := getattr(self, name)) is not None}
        if self.usage is not None:
            line |= {name: getattr(self.usage, name) for name in OF_USAGE}
        return line


LOGGED = tuple(each.name for each in fields(Record) if each.name not in APART)
OF_USAGE = tuple(each.name for each in fields(Usage))
