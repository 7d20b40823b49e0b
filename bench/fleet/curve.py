"""The measured speed of one instance, read for the simulation from a file of results."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from bench.systems import OURS

# Tokens that one step computes at most, and sequences that run at once
# (config/model-config.yaml).
STEP_TOKENS = 160
SLOTS = 32


@dataclass(frozen=True)
class Curve:
    """Seconds of a step by sequences that run in it, and what a prompt's tokens add.

    streams: Points that were measured. seconds: A step's at each. prefill: Of each prompt token.
    first: Of a request beside its prompt and its steps. slots, step_tokens: The engine's bounds.
    """

    streams: tuple[int, ...]
    seconds: tuple[float, ...]
    prefill: float
    first: float = 0.0
    slots: int = SLOTS
    step_tokens: int = STEP_TOKENS

    def step(self, streams: int) -> float:
        """Return the seconds of a step of so many sequences: linear between the points."""
        if streams <= self.streams[0] or len(self.streams) == 1:
            return self.seconds[0]
        at = min(bisect_left(self.streams, streams), len(self.streams) - 1)
        low, high = self.streams[at - 1], self.streams[at]
        share = (streams - low) / (high - low)
        return self.seconds[at - 1] + share * (self.seconds[at] - self.seconds[at - 1])

    def tokens_per_second(self, streams: int) -> float:
        """Return the rate of all of them together."""
        return streams / self.step(streams)

    def requests_per_second(self, prompt: float, new: float) -> float:
        """Return how many requests of such lengths a full instance ends each second."""
        each = prompt * self.prefill + new * self.step(self.slots) / self.slots
        return 1 / each


def of_rates(
    rates: Sequence[tuple[int, float]], first_tokens: Sequence[tuple[int, float]], **bounds: int
) -> Curve:
    """Make a curve of tokens a second by streams, and seconds to a first token by prompt tokens."""
    points = sorted(rates)
    (short, soon), (long, late) = min(first_tokens), max(first_tokens)
    prefill = (late - soon) / (long - short)
    alone = points[0][0] / points[0][1]
    # More sequences make no step shorter, whatever a busy machine measured.
    seconds = tuple(accumulate((streams / rate for streams, rate in points), max))
    return Curve(
        tuple(streams for streams, _ in points),
        seconds,
        prefill,
        max(0.0, soon - short * prefill - alone),
        **bounds,
    )


def read(path: Path, model: str = "gpt2 (random weights)") -> Curve:
    """Return the curve over HTTP that a file of results of ./scripts/bench has."""
    rows = [
        row
        for row in json.loads(path.read_text(encoding="utf-8"))["rows"]
        if row["system"] == OURS and row["model"] == model and row["path"] == "http"
    ]
    decode = [row for row in rows if row["section"] == "decode" and not row["prefill_counted"]]
    first = [row for row in rows if row["section"] == "ttft"]
    return of_rates(
        [(row["streams"], row["tokens_per_second"]) for row in decode],
        [(row["prompt_tokens"], row["ttft_ms_p50"] / 1000) for row in first],
    )
