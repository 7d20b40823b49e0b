"""The simulated scenarios, and the row that each run becomes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench.fleet import cost
from bench.fleet.autoscaling import Autoscaler, CloudRun, Fixed, PodAutoscaler, Queue
from bench.fleet.curve import SLOTS, Curve
from bench.fleet.day import simulate_day
from bench.fleet.simulation import Outcome, Plan, simulate
from bench.fleet.traffic import Day, Lengths, means

LENGTHS = Lengths()
# From the wish to the first token: the container's own 1.7 s were measured (docs/container.md),
# what the platform adds is assumed; so are 60 s for a node that is not there yet.
CLOUD_RUN_SECONDS = 3.0
POD_SECONDS = 5.0
NODE_SECONDS = 60.0
# Instances: seconds that are simulated, of which the first part is not counted.
POWERS = {10: (400.0, 100.0), 100: (120.0, 60.0), 1000: (50.0, 30.0), 10_000: (24.0, 16.0)}
LOADED = 0.6  # share of what full instances could do
HISTORY_POINTS = 300

Row = dict[str, Any]


@dataclass(frozen=True)
class Scenario:
    """A named run."""

    section: str
    name: str
    plan: Plan
    what: str = ""


def session_rate(curve: Curve, instances: float, lengths: Lengths = LENGTHS) -> float:
    """Return the sessions a second that give so many instances all the work that they can do."""
    mean = means(lengths)
    return instances * curve.requests_per_second(mean.prompt, mean.new) / mean.turns


def steady(curve: Curve, share: float = 1.0) -> Iterator[Scenario]:
    """Yield fleets under a steady load: what routing is worth, at each power of ten."""
    for instances, (seconds, settle) in POWERS.items():
        rate = LOADED * session_rate(curve, instances)
        for routing in ("chance", "least", "prefix"):
            if instances == 10_000 and routing == "chance":
                continue  # ten million events each
            plan = Plan(
                curve, _always(rate), rate, max(settle + 5, seconds * share), instances, routing,
                settle=settle,
            )  # fmt: skip
            yield Scenario("steady", f"{instances:,} by {routing}", plan)


def autoscalers(most: int, least: int) -> dict[str, tuple[Autoscaler, float]]:
    """Return the platforms' autoscalers, and the seconds that a start takes there."""
    pods = max(1, least)
    return {
        "Cloud Run, 60 % / 60 % of 112": (CloudRun(most=most, least=least), CLOUD_RUN_SECONDS),
        "Cloud Run, 95 % / 60 % of 32": (
            CloudRun(SLOTS, 0.95, 0.6, most=most, least=least), CLOUD_RUN_SECONDS,
        ),
        "Cloud Run, 95 % / 60 % of 16": (
            CloudRun(16, 0.95, 0.6, most=most, least=least), CLOUD_RUN_SECONDS,
        ),
        "HPA, processors 70 %": (PodAutoscaler(most=most, least=pods), POD_SECONDS),
        "KEDA, 8 a pod": (Queue(most=most, least=pods), POD_SECONDS),
        "KEDA, 24 a pod": (Queue(most=most, least=pods, running_target=24.0), POD_SECONDS),
        "KEDA, 8 a pod, nodes come too": (Queue(most=most, least=pods), NODE_SECONDS),
    }  # fmt: skip


def bursts(curve: Curve, share: float = 1.0) -> Iterator[Scenario]:
    """Yield five times the load for a minute, from a fleet that fits the load before."""
    for instances in (10,):
        rate = 0.5 * session_rate(curve, instances)
        burst = Day(rate, swing=0.0, burst=(120.0, 60.0, 5.0))
        for name, (autoscaler, seconds) in autoscalers(10 * instances, 1).items():
            plan = Plan(
                curve, burst.rate, burst.most, 420.0 * share, instances, "least", autoscaler,
                start_seconds=seconds, settle=60.0,
            )  # fmt: skip
            yield Scenario("burst", f"{instances:,}: {name}", plan)
        plan = Plan(curve, burst.rate, burst.most, 420.0 * share, instances, "least", settle=60.0)
        yield Scenario("burst", f"{instances:,}: no autoscaler", plan)


def failures(curve: Curve, share: float = 1.0) -> Iterator[Scenario]:
    """Yield a fleet in which instances die: every ten minutes each, which is far too often."""
    rate = LOADED * session_rate(curve, 100)
    for lives in (0.0, 600.0):
        plan = Plan(
            curve, _always(rate), rate, 240.0 * share, 100, "least", Fixed(100),
            lives=lives, start_seconds=POD_SECONDS, settle=60.0,
        )  # fmt: skip
        name = f"each dies every {lives:,.0f} s" if lives else "none dies"
        yield Scenario("failures", f"100, {name}", plan)


def days(curve: Curve) -> list[Row]:
    """Return a day's bill by fleet and autoscaler: a fluid, so of any size."""
    rows = []
    for instances in (1, 10, 100, 1000, 10_000):
        for name, (autoscaler, seconds) in autoscalers(10 * instances, 1).items():
            if isinstance(autoscaler, Queue):
                continue  # a fluid has no queue that it could follow
            bill = simulate_day(curve, autoscaler, instances / 2, seconds, LENGTHS)
            rows.append(
                {
                    "section": "day",
                    "name": f"{instances:,}: {name}",
                    "instances": instances,
                    "instance_hours": round(bill.instance_hours, 1),
                    "most_instances": bill.most,
                    "starts": bill.starts,
                    "unserved_percent": round(100 * bill.unserved / bill.requests, 3),
                    "dollars_per_million_by_request": round(bill.by_request, 4),
                    "dollars_per_million_by_instance": round(bill.by_instance, 4),
                }
            )
    return rows


def _always(rate: float) -> Callable[[float], float]:
    return lambda _: rate


def run(scenario: Scenario) -> Row:
    """Run a scenario; return its row."""
    began = time.perf_counter()
    outcome = simulate(scenario.plan)
    return {**row_of(scenario, outcome), "took_seconds": round(time.perf_counter() - began, 1)}


def row_of(scenario: Scenario, outcome: Outcome) -> Row:
    """Return the figures of a run."""
    plan = scenario.plan
    ends = dict(outcome.ends)
    failed = sum(ends.get(how, 0) for how in ("refused", "late", "lost"))
    step = max(1, len(outcome.history) // HISTORY_POINTS)
    return {
        "section": scenario.section,
        "name": scenario.name,
        "seed": plan.seed,
        "instances": plan.instances,
        "routing": plan.routing,
        "simulated_seconds": plan.seconds,
        "requests": outcome.arrived,
        "ends": ends,
        "failed_percent": round(100 * failed / max(1, outcome.arrived), 3),
        "ttft_p50": round(outcome.first_token(0.5), 4),
        "ttft_p99": round(outcome.first_token(0.99), 4),
        "tokens_per_instance_second": round(outcome.tokens / outcome.instance_seconds, 1),
        "busy_share": round(outcome.busy_seconds / outcome.instance_seconds, 4),
        "prefix_hits": round(outcome.hit_tokens / max(1, outcome.prompt_tokens), 4),
        "instance_hours": round(outcome.instance_seconds / 3600, 3),
        "most_instances": max((ready + starting for _, ready, starting, _ in outcome.history),
                              default=plan.instances),
        "starts": outcome.starts,
        "failures": outcome.failures,
        "dollars_per_million_by_request": _dollars(cost.by_request(outcome), outcome),
        "dollars_per_million_by_instance": _dollars(cost.by_instance(outcome), outcome),
        "history": outcome.history[::step] if scenario.section == "burst" else [],
    }  # fmt: skip


def _dollars(bill: float, outcome: Outcome) -> float:
    return round(cost.of_million_tokens(bill, outcome), 4)
