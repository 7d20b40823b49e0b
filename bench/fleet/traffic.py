"""Traffic: sessions of several turns, at a rate that follows the day, with bursts."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

DAY = 86_400.0
CONTEXT = 1024


@dataclass(frozen=True)
class Lengths:
    """Of a session: words that are typed, tokens that are written, turns, and pauses in seconds.

    A turn's prompt is the whole text before it and what is typed besides, as on the page.
    """

    typed: float = 96.0
    written: float = 96.0
    turns: float = 3.0
    pause: float = 15.0


@dataclass(frozen=True)
class Day:
    """A rate that swings once a day: least at four in the morning, most at four in the afternoon.

    mean: Of the day. swing: Share of the mean by which it goes up and down. starts: Hour at which
    the simulation begins. burst: (at second, for seconds, times the rate).
    """

    mean: float
    swing: float = 0.6
    starts: float = 0.0
    burst: tuple[float, float, float] | None = None

    def rate(self, now: float) -> float:
        """Return the rate at a second of the simulation."""
        hour = (self.starts + now / 3600) % 24
        rate = self.mean * (1 - self.swing * math.cos((hour - 4) / 24 * 2 * math.pi))
        if self.burst is not None:
            at, seconds, times = self.burst
            if at <= now < at + seconds:
                rate *= times
        return rate

    @property
    def most(self) -> float:
        """A rate that it never exceeds."""
        times = self.burst[2] if self.burst is not None else 1.0
        return self.mean * (1 + self.swing) * max(1.0, times)


def next_arrival(
    draw: random.Random, rate: Callable[[float], float], most: float, now: float
) -> float:
    """Return when the next one comes, of a Poisson process of that rate (thinning)."""
    while True:
        now += draw.expovariate(most)
        if draw.random() * most <= rate(now):
            return now


def amount(draw: random.Random, mean: float, most: int = CONTEXT // 2) -> int:
    """Return a length around a mean: many short, few long."""
    return max(1, min(most, round(draw.expovariate(1 / mean))))


@dataclass(frozen=True)
class Means:
    """Of many sessions: a request's prompt and new tokens, what of the prompt is new, and turns."""

    prompt: float
    new: float
    fresh: float
    turns: float


def means(lengths: Lengths, draws: int = 4000, seed: int = 7) -> Means:
    """Return the means of sessions, which end early where their text would not fit."""
    draw, prompts, new, fresh, count = random.Random(seed), 0, 0, 0, 0
    for _ in range(draws):
        text = 0
        for _ in range(turns(draw, lengths)):
            typed, written = amount(draw, lengths.typed), amount(draw, lengths.written)
            if text + typed + written > CONTEXT:
                break
            prompts, new, fresh, count = (
                prompts + text + typed,
                new + written,
                fresh + typed,
                count + 1,
            )
            text += typed + written
    return Means(prompts / count, new / count, fresh / count, count / draws)


def turns(draw: random.Random, lengths: Lengths) -> int:
    """Return how often somebody goes on: geometric."""
    count = 1
    while draw.random() > 1 / lengths.turns:
        count += 1
    return count
