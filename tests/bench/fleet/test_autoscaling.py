"""Autoscalers want what their platforms' documents say."""

from __future__ import annotations

import pytest
import yaml

from bench.fleet.autoscaling import CloudRun, Fixed, PodAutoscaler, Queue, Seen
from bench.fleet.curve import read
from bench.fleet.day import inside, simulate_day
from bench.fleet.simulation import Plan, simulate
from bench.fleet.traffic import Lengths, means
from tests.conftest import ROOT

MEASURED = ROOT / "bench" / "results" / "zen4.json"


def seen(
    now: float = 0.0, busy: float = 0.0, inside: float = 0.0, waiting: float = 0.0,
    ready: int = 1, starting: int = 0,
) -> Seen:  # fmt: skip
    return Seen(now, busy, inside, waiting, ready, starting)


def test_cloud_run_keeps_processors_at_their_target_over_a_minute() -> None:
    rule = CloudRun(concurrency=100)
    assert rule.wanted(seen(busy=6.0, ready=10)) == 10
    assert rule.wanted(seen(busy=0.6)) == 10  # for the rest of a quarter of an hour
    # A burst of five seconds is a twelfth of a minute.
    rule = CloudRun(concurrency=100)
    for second in range(0, 60, 5):
        wanted = rule.wanted(seen(second, busy=12.0 if second == 55 else 0.0))
    assert wanted == 2


def test_cloud_run_counts_concurrency_and_takes_the_larger() -> None:
    assert CloudRun(concurrency=10).wanted(seen(busy=0.5, inside=30.0)) == 5
    assert CloudRun(concurrency=10, concurrency_target=0.95).wanted(seen(inside=19.0)) == 2


def test_cloud_run_starts_one_for_who_waits_and_ends_who_idles() -> None:
    rule = CloudRun(concurrency=10, least=0, most=5)
    assert rule.wanted(seen(0, inside=1.0, ready=0)) == 1
    assert rule.wanted(seen(5, ready=1)) == 1
    assert rule.wanted(seen(1000, ready=1)) == 0
    assert rule.wanted(seen(1005, inside=1000.0)) == 5


@pytest.mark.parametrize(
    ("busy", "ready", "wanted"),
    [
        (7.0, 10, 10),  # at its target
        (7.6, 10, 10),  # within a tenth of it
        (9.0, 10, 13),
        (3.5, 5, 5),
        (10.0, 10, 15),
    ],
)
def test_a_pod_autoscaler_follows_its_formula(busy: float, ready: int, wanted: int) -> None:
    rule = PodAutoscaler(target=0.7, least=1, most=100)
    assert rule.wanted(seen(busy=busy, ready=ready)) == wanted


def test_a_pod_autoscaler_doubles_at_most_and_comes_down_slowly() -> None:
    rule = Queue(least=1, most=1000)
    assert rule.wanted(seen(0, inside=8_000.0, ready=10)) == 20
    assert rule.wanted(seen(15, inside=8_000.0, ready=2)) == 6  # four where that is more
    assert rule.wanted(seen(30, inside=80.0, ready=20)) == 20  # it wished for more just now
    assert rule.wanted(seen(400, inside=80.0, ready=20)) == 10
    slow = PodAutoscaler(least=1, most=100)
    assert slow.wanted(seen(0, busy=1.0, ready=10)) == 9
    assert slow.wanted(seen(30, busy=1.0, ready=9)) == 9
    assert slow.wanted(seen(60, busy=1.0, ready=9)) == 8


def test_the_queue_counts_who_waits_and_who_is_written() -> None:
    assert Queue(most=100).wanted(seen(inside=16.0, ready=1)) == 2
    assert Queue(most=100).wanted(seen(inside=40.0, waiting=32.0, ready=3)) == 4


def test_its_numbers_are_those_of_the_files() -> None:
    scaled = yaml.safe_load(
        (ROOT / "deploy/kubernetes/components/keda/scaledobject.yaml").read_text()
    )
    waiting, running = (float(each["metadata"]["threshold"]) for each in scaled["spec"]["triggers"])
    assert (waiting, running) == (Queue().waiting_target, Queue().running_target)
    pods = yaml.safe_load(
        (ROOT / "deploy/kubernetes/components/hpa/horizontalpodautoscaler.yaml").read_text()
    )
    [metric] = pods["spec"]["metrics"]
    assert metric["resource"]["target"]["averageUtilization"] == 100 * PodAutoscaler().target


def test_a_day_as_a_fluid_costs_what_the_simulation_of_it_does() -> None:
    # Four hours of a steady load: what is in an instance, and for how long it is busy.
    curve, lengths, count = read(MEASURED), Lengths(pause=0.0), 4
    mean = means(lengths)
    rate = 0.5 * count * curve.requests_per_second(mean.prompt, mean.new)
    sessions = rate / mean.turns
    plan = Plan(curve, lambda _: sessions, sessions, 300.0, count, lengths=lengths, settle=30.0)
    outcome = simulate(plan)
    followed = sum(point[3] for point in outcome.history) / len(outcome.history)
    expected = count * inside(curve, rate / count, mean.prompt, mean.new)
    assert outcome.arrived == pytest.approx(rate * plan.seconds, rel=0.1)
    assert followed == pytest.approx(expected, rel=0.5)
    assert outcome.busy_seconds / outcome.instance_seconds > 0.7


def test_a_fixed_fleet_is_paid_for_the_whole_day() -> None:
    bill = simulate_day(read(MEASURED), Fixed(10), 5.0, 3.0, Lengths())
    assert bill.instance_hours == pytest.approx(240, rel=0.03)
    # It begins with two, as the night has it.
    assert bill.unserved < 0.001 * bill.requests and bill.most == 10
