"""A day of a fleet of any size, as a fluid: what an autoscaler makes of it, and what that costs.

Between two looks of the autoscaler the load of an instance is taken for steady: so many requests
are in it that they leave as fast as they come. No request is followed, so this knows nothing of
waits; bench/fleet/simulation.py does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bench.fleet import cost
from bench.fleet.autoscaling import Autoscaler, Seen
from bench.fleet.curve import Curve
from bench.fleet.traffic import DAY, Day, Lengths, means

ROUNDS = 40
# Points of load at which it is worked out what is in an instance.
POINTS = 200


@dataclass(frozen=True)
class Bill:
    """What a day came to."""

    instance_hours: float
    busy_hours: float
    most: int
    requests: float
    unserved: float
    tokens: float
    starts: int

    @property
    def by_request(self) -> float:
        """Dollars a million written tokens, paid by the request."""
        busy, idle = 3600 * self.busy_hours, 3600 * (self.instance_hours - self.busy_hours)
        bill = busy * cost.ACTIVE + idle * cost.IDLE + self.requests * cost.REQUEST
        return bill / self.tokens * 1e6

    @property
    def by_instance(self) -> float:
        """The same, paid by the instance."""
        return 3600 * self.instance_hours * cost.BY_INSTANCE / self.tokens * 1e6


def inside(curve: Curve, rate: float, prompt: float, new: float) -> float:
    """Return the requests that are in an instance which gets so many a second; at most its slots.

    Little's law, with the time that a request takes at that many.
    """
    if rate >= curve.requests_per_second(prompt, new):
        return float(curve.slots)
    low, high = 0.0, float(curve.slots)
    for _ in range(ROUNDS):
        here = (low + high) / 2
        taken = prompt * curve.prefill + new * _step(curve, here, rate, prompt)
        low, high = (here, high) if rate * taken > here else (low, here)
    return high


def _step(curve: Curve, streams: float, rate: float, prompt: float) -> float:
    """Return a step's time with so many sequences, and the prompts' share that it carries."""
    whole = math.floor(streams)
    seconds = curve.step(max(1, whole))
    seconds += (streams - whole) * (curve.step(max(1, whole + 1)) - seconds)
    return seconds / max(1e-6, 1 - min(0.99, rate * prompt * curve.prefill))


def simulate_day(
    curve: Curve,
    autoscaler: Autoscaler,
    mean_instances: float,
    start_seconds: float,
    lengths: Lengths,
    swing: float = 0.6,
) -> Bill:
    """Run a day whose mean load would keep so many instances full."""
    mean = means(lengths)
    day = Day(mean_instances * curve.requests_per_second(mean.prompt, mean.new), swing)
    ready = max(1, round(mean_instances * (1 - swing)))
    starting: list[float] = []
    now, hours, busy_hours, requests, unserved, starts, most = 0.0, 0.0, 0.0, 0.0, 0.0, 0, ready
    every = autoscaler.every
    one = curve.requests_per_second(mean.prompt, mean.new)
    known = [
        inside(curve, one * point / POINTS, mean.prompt, mean.new) for point in range(POINTS + 1)
    ]
    while now < DAY:
        arrived = [at for at in starting if at <= now]
        ready += len(arrived)
        starting = [at for at in starting if at > now]
        rate = day.rate(now)
        full = ready * one
        each = known[min(POINTS, round(POINTS * rate / max(1, ready) / one))]
        busy = 1 - math.exp(-each)  # that at least one is in it
        lost = max(0.0, rate - full)
        requests, unserved = requests + rate * every, unserved + lost * every
        hours += (ready + len(starting)) * every / 3600
        busy_hours += ready * busy * every / 3600
        waiting = lost * every if lost else 0.0
        seen = Seen(now, ready * busy, ready * each + waiting, waiting, ready, len(starting))
        wanted = autoscaler.wanted(seen)
        there = ready + len(starting)
        if wanted > there:
            starting += [now + start_seconds] * (wanted - there)
            starts += wanted - there
        elif wanted < there:
            spared = min(len(starting), there - wanted)
            starting = starting[: len(starting) - spared]
            ready = max(0, ready - (there - wanted - spared))
        most = max(most, ready + len(starting))
        now += every
    tokens = (requests - unserved) * mean.new
    return Bill(hours, busy_hours, most, requests, unserved, tokens, starts)
