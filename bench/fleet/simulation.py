"""A fleet in simulated time: traffic, routing, starts, ends, failures, and an autoscaler."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import simpy

from bench.fleet.autoscaling import Autoscaler, Fixed, Seen
from bench.fleet.curve import Curve
from bench.fleet.instance import MOST_SECONDS, MOST_WAITING, Instance, Request
from bench.fleet.routing import ROUTINGS
from bench.fleet.traffic import CONTEXT, Lengths, amount, next_arrival, turns

# A client asks again once where its instance died, and where it was refused.
MOST_TRIES = 2
AGAIN_SECONDS = 1.0


@dataclass(frozen=True)
class Plan:
    """All that decides a run; the same plan gives the same run.

    seconds: Simulated. settle: Of these, at the start, not counted. rate: Sessions a second.
    start_seconds: From the autoscaler's wish to the first token that an instance could write.
    lives: Mean seconds until an instance fails; 0 is never.
    """

    curve: Curve
    rate: Callable[[float], float]
    most_rate: float
    seconds: float
    instances: int
    routing: str = "least"
    autoscaler: Autoscaler | None = None
    lengths: Lengths = Lengths()
    start_seconds: float = 3.0
    lives: float = 0.0
    settle: float = 0.0
    most_waiting: int = MOST_WAITING
    most_seconds: float = MOST_SECONDS
    seed: int = 1


@dataclass
class Outcome:
    """What came of a run."""

    arrived: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    inside: int = 0
    # Lost with their instance, and not asked again yet.
    between: int = 0
    first_tokens: list[float] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    tokens: int = 0
    prompt_tokens: int = 0
    hit_tokens: int = 0
    instance_seconds: float = 0.0
    busy_seconds: float = 0.0
    starts: int = 0
    failures: int = 0
    # (second, ready, starting, requests inside) at each look of the autoscaler.
    history: list[tuple[float, int, int, int]] = field(default_factory=list)

    def first_token(self, share: float) -> float:
        """Return the time to the first token that this share of requests did not exceed."""
        return quantile(self.first_tokens, share)


def quantile(values: list[float], share: float) -> float:
    """Return the value that this share does not exceed; infinite where there is none."""
    if not values:
        return float("inf")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Simulation:
    """One run of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.env = simpy.Environment()
        self.outcome = Outcome()
        # A stream of random numbers each, so that routing does not change who comes.
        self._traffic = random.Random(f"traffic {plan.seed}")
        self._luck = random.Random(f"failures {plan.seed}")
        self._choose = ROUTINGS[plan.routing](random.Random(f"routing {plan.seed}"))
        self._autoscaler = plan.autoscaler or Fixed(plan.instances)
        self._ready: list[Instance] = []
        self._leaving: list[Instance] = []
        self._starting = 0
        self._cancelled = 0
        self._made = 0
        self._sessions = 0
        self._numbers = 0
        self._parked: list[Request] = []
        self._looked = (0.0, 0.0, 0.0, 0.0)
        self._gone = [0.0, 0.0, 0.0]

    def run(self) -> Outcome:
        """Run it to its end."""
        for _ in range(self.plan.instances):
            self._open()
        self.env.process(self._arrivals())
        self.env.process(self._scale())
        self.env.run(until=self.plan.seconds)
        self._close()
        return self.outcome

    # Requests

    def _arrivals(self) -> Generator[simpy.Event]:
        plan, now = self.plan, 0.0
        while True:
            now = next_arrival(self._traffic, plan.rate, plan.most_rate, now)
            yield self.env.timeout(max(0.0, now - self.env.now))
            self._sessions += 1
            seed = self._traffic.getrandbits(64)
            self._turn(self._sessions, random.Random(seed), 0, -1)

    def _turn(self, session: int, draw: random.Random, text: int, left: int) -> None:
        """Have a session ask once; when it is answered, it goes on after a pause."""
        lengths = self.plan.lengths
        left = turns(draw, lengths) if left < 0 else left
        typed, written = amount(draw, lengths.typed), amount(draw, lengths.written)
        if left == 0 or text + typed + written > CONTEXT:
            return
        self._numbers += 1
        now = self.env.now
        request = Request(self._numbers, now, text + typed, written, session, text)

        def ended(request: Request, how: str) -> None:
            if how == "lost" and request.tries < MOST_TRIES:
                request.tries += 1
                self.outcome.ends["asked again"] += 1
                self.outcome.between += 1
                self._later(AGAIN_SECONDS, lambda: again(request))
                return
            self._count(request, how)
            if how == "done":
                pause = draw.expovariate(1 / lengths.pause) if lengths.pause else 0.0
                after = request.prompt + request.new
                self._later(pause, lambda: self._turn(session, draw, after, left - 1))

        def again(request: Request) -> None:
            self.outcome.between -= 1
            self._send(request)

        request.on_end = ended
        self.outcome.arrived += 1
        self._send(request)

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        self.env.timeout(seconds).callbacks.append(lambda _: what())

    def _send(self, request: Request) -> None:
        if not self._ready:
            self._parked.append(request)  # the platform holds it until an instance is there
            return
        instance = self._choose(self._ready, request)
        if not instance.take(request) and request.on_end is not None:
            request.on_end(request, "refused")

    def _count(self, request: Request, how: str) -> None:
        self.outcome.ends[how] += 1
        if how == "done" and request.arrived >= self.plan.settle:
            self.outcome.first_tokens.append(request.first_token - request.arrived)
            self.outcome.totals.append(self.env.now - request.arrived)

    # Instances

    def _start(self) -> None:
        self._starting += 1
        self.outcome.starts += 1

        def ready() -> None:
            self._starting -= 1
            if self._cancelled:
                self._cancelled -= 1
                return
            self._open()

        self._later(self.plan.start_seconds, ready)

    def _open(self) -> None:
        plan = self.plan
        self._made += 1
        instance = Instance(self.env, plan.curve, self._made, plan.most_waiting, plan.most_seconds)
        instance.meters.since = instance.born = self.env.now
        instance.place = len(self._ready)
        self._ready.append(instance)
        if plan.lives:
            self._later(self._luck.expovariate(1 / plan.lives), lambda: self._fail(instance))
        parked, self._parked = self._parked, []
        for request in parked:
            self._send(request)

    def _take_out(self, instance: Instance) -> None:
        """Have nobody routed there any more."""
        last = self._ready.pop()
        if last is not instance:
            self._ready[instance.place] = last
            last.place = instance.place
        instance.is_open = False

    def _fail(self, instance: Instance) -> None:
        if not instance.is_open:
            return
        self._take_out(instance)
        self.outcome.failures += 1
        lost = instance.lose()
        self._forget(instance)
        self._start()  # the platform starts another at once
        for request in lost:
            if request.on_end is not None:
                request.on_end(request, "lost")

    def _forget(self, instance: Instance) -> None:
        """Add what an instance did to the outcome."""
        meters, outcome = instance.settle(), self.outcome
        outcome.tokens += meters.tokens
        outcome.prompt_tokens += meters.prompt_tokens
        outcome.hit_tokens += meters.hit_tokens
        outcome.busy_seconds += meters.busy
        outcome.instance_seconds += self.env.now - instance.born
        self._gone[0] += meters.busy
        self._gone[1] += meters.inside
        self._gone[2] += meters.waiting

    # The autoscaler

    def _scale(self) -> Generator[simpy.Event]:
        while True:
            yield self.env.timeout(self._autoscaler.every)
            seen = self._look()
            self.outcome.history.append((seen.now, seen.ready, seen.starting, self._inside()))
            self._adjust(self._autoscaler.wanted(seen))

    def _look(self) -> Seen:
        """Return averages since the last look; what is at rest leaves."""
        for instance in [each for each in self._leaving if each.load == 0]:
            self._leaving.remove(instance)
            self._forget(instance)
        sums = list(self._gone)
        for instance in (*self._ready, *self._leaving):
            meters = instance.settle()
            sums[0] += meters.busy
            sums[1] += meters.inside
            sums[2] += meters.waiting
        before, self._looked = self._looked, (self.env.now, sums[0], sums[1], sums[2])
        passed = self.env.now - before[0]
        busy, inside, waiting = (
            (new - old) / passed for new, old in zip(sums, before[1:], strict=True)
        )
        parked = len(self._parked)
        starting = self._starting - self._cancelled
        return Seen(
            self.env.now, busy, inside + parked, waiting + parked, len(self._ready), starting
        )

    def _inside(self) -> int:
        return sum(each.load for each in (*self._ready, *self._leaving)) + len(self._parked)

    def _adjust(self, wanted: int) -> None:
        there = len(self._ready) + self._starting - self._cancelled
        for _ in range(wanted - there):
            if self._cancelled:
                self._cancelled -= 1
            else:
                self._start()
        for _ in range(there - wanted):
            if self._starting - self._cancelled > 0:
                self._cancelled += 1
                continue
            if not self._ready:
                break
            # The one with the least to do, of the last few.
            instance = min(self._ready[-8:], key=lambda each: each.load)
            self._take_out(instance)
            self._leaving.append(instance)

    def _close(self) -> None:
        self.outcome.inside = self._inside()
        for instance in (*self._ready, *self._leaving):
            self._forget(instance)


def simulate(plan: Plan) -> Outcome:
    """Run a plan."""
    return Simulation(plan).run()
