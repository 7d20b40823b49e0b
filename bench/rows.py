"""One measured figure as a row, and how runs become one: median, least and most."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Row:
    """A row of the results. Rates are tokens per second over all streams together."""

    section: str
    system: str
    model: str
    path: str
    streams: int
    prompt_tokens: int
    new_tokens: int
    prefill_counted: bool
    tokens_per_second: float | None = None
    least: float | None = None
    most: float | None = None
    steady_tokens_per_second: float | None = None
    ttft_ms_p50: float | None = None
    ttft_ms_p99: float | None = None
    rss_mb: float | None = None
    start_seconds: float | None = None  # from process start to its first token
    weights_mb: float | None = None  # the archive's model files
    workers_mb: float | None = None  # of rss_mb, what the model's worker holds
    share_of_limit: float | None = None
    share_of_engine: float | None = None  # of the engine's own rate, asked in the same rounds
    runs: int = 0
    note: str = ""

    def rate(self, values: Sequence[float]) -> None:
        """Set the rate from the runs' rates."""
        if values:
            self.tokens_per_second = statistics.median(values)
            self.least, self.most, self.runs = min(values), max(values), len(values)

    def first_tokens(self, seconds: Sequence[float]) -> None:
        """Set the times to first token."""
        if seconds:
            self.ttft_ms_p50 = 1000 * percentile(seconds, 0.50)
            self.ttft_ms_p99 = 1000 * percentile(seconds, 0.99)
            self.runs = self.runs or len(seconds)


def percentile(values: Sequence[float], share: float) -> float:
    """Value below which this share of the values lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Prompts:
    """Random prompts, never the same one twice: a prefix cache must not find what it knows."""

    def __init__(self, vocabulary: int, seed: int = 0) -> None:
        self._random = random.Random(seed)
        # Low ids are common tokens; every system has the same vocabulary.
        self._most = vocabulary - 2

    def one(self, tokens: int) -> list[int]:
        """Make one prompt."""
        return [self._random.randint(1, self._most) for _ in range(tokens)]

    def many(self, count: int, tokens: int) -> list[list[int]]:
        """Make `count` prompts of one length."""
        return [self.one(tokens) for _ in range(count)]

    def lengths(self, count: int, least: int, most: int) -> list[int]:
        """Draw `count` lengths."""
        return [self._random.randint(least, most) for _ in range(count)]
