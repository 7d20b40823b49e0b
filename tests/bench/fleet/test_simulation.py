"""The simulation keeps what must be kept, and meets theory where there is one."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.fleet.autoscaling import Fixed, Queue
from bench.fleet.curve import Curve, of_rates, read
from bench.fleet.instance import Instance, Request
from bench.fleet.routing import ROUTINGS
from bench.fleet.simulation import Plan, quantile, simulate
from bench.fleet.traffic import Day, Lengths, next_arrival
from tests.conftest import ROOT

MEASURED = ROOT / "bench" / "results" / "zen4.json"
# A step takes the same time whatever is in it, and prompts take none.
EVEN = Curve((1,), (0.01,), 0.0, slots=4)
NONE = 1e-12


def waits(curve: Curve, rate: float, new: float, seconds: float, seed: int = 1) -> list[float]:
    """Seconds that requests wait for a slot of one instance, of exponential lengths."""
    env, draw = simpy.Environment(), random.Random(seed)
    instance = Instance(env, curve, 1, most_waiting=10**9, most_seconds=math.inf)
    waited: list[float] = []

    def come():  # type: ignore[no-untyped-def]
        number = 0
        while True:
            yield env.timeout(draw.expovariate(rate))
            number += 1
            # In thousandths of a token, so that lengths are as good as continuous.
            length = max(1, round(draw.expovariate(1 / new)))
            request = Request(number, env.now, 1, length)
            request.on_end = lambda request, _: waited.append(request.joined - request.arrived)
            instance.take(request)

    env.process(come())
    env.run(until=seconds)
    return waited[1000:]


@pytest.mark.parametrize(("servers", "share"), [(1, 0.5), (4, 0.7), (16, 0.8)])
def test_slots_with_steps_of_one_length_are_a_queue_with_servers(
    servers: int, share: float
) -> None:
    curve = Curve((1,), (1e-5,), NONE, slots=servers, step_tokens=10**9)
    tokens = 10_000.0  # 0.1 s
    service = tokens * 1e-5
    rate = share * servers / service
    found = [each for seed in (1, 3) for each in waits(curve, rate, tokens, 60_000 / rate, seed)]
    # Erlang's formula: how many wait, and how long.
    offered = rate * service
    terms = [offered**k / math.factorial(k) for k in range(servers)]
    last = offered**servers / math.factorial(servers) / (1 - share)
    some_wait = last / (sum(terms) + last)
    assert sum(each > 1e-6 for each in found) / len(found) == pytest.approx(some_wait, rel=0.06)
    expected = some_wait * service / (servers * (1 - share))
    assert sum(found) / len(found) == pytest.approx(expected, rel=0.1)


def test_a_step_that_grows_with_its_texts_is_processor_sharing() -> None:
    # Twice the texts, twice the step: a request's mean time in an M/M/1 that is shared.
    curve = Curve((1, 1000), (1e-5, 1e-2), NONE, slots=1000, step_tokens=10**9)
    env, draw, times = simpy.Environment(), random.Random(3), []
    instance = Instance(env, curve, 1)
    tokens, share = 10_000.0, 0.6
    service = tokens * 1e-5

    def come():  # type: ignore[no-untyped-def]
        for number in range(40_000):
            yield env.timeout(draw.expovariate(share / service))
            request = Request(number, env.now, 1, max(1, round(draw.expovariate(1 / tokens))))
            request.on_end = lambda request, _: times.append(env.now - request.arrived)
            instance.take(request)

    env.process(come())
    env.run()
    assert len(times) == 40_000
    assert sum(times) / len(times) == pytest.approx(service / (1 - share), rel=0.06)


plans = st.builds(
    Plan,
    curve=st.just(replace(EVEN, prefill=0.0002)),
    rate=st.just(lambda _: 4.0),
    most_rate=st.just(4.0),
    seconds=st.sampled_from([5.0, 60.0]),
    instances=st.integers(1, 4),
    routing=st.sampled_from(sorted(ROUTINGS)),
    autoscaler=st.sampled_from([None, 0, 1]),
    lengths=st.builds(Lengths, pause=st.sampled_from([0.0, 5.0])),
    lives=st.sampled_from([0.0, 7.0, 40.0]),
    most_waiting=st.sampled_from([0, 3, 64]),
    most_seconds=st.sampled_from([0.5, 60.0]),
    seed=st.integers(1, 10**6),
)


def with_autoscaler(plan: Plan) -> Plan:
    """The plan with an autoscaler of its own: they remember."""
    made = {None: None, 0: Fixed(2), 1: Queue(least=1, most=6)}[plan.autoscaler]  # type: ignore[index]
    return replace(plan, autoscaler=made)


@settings(max_examples=60, deadline=None)
@given(plans)
def test_no_request_is_lost_from_sight_and_a_seed_says_all(plan: Plan) -> None:
    outcome = simulate(with_autoscaler(plan))
    ended = sum(count for how, count in outcome.ends.items() if how != "asked again")
    assert outcome.arrived == ended + outcome.inside + outcome.between
    assert outcome.ends["done"] >= len(outcome.first_tokens)
    pairs = zip(outcome.first_tokens, outcome.totals, strict=True)
    assert all(0 < first <= total + 1e-9 for first, total in pairs)
    assert 0 <= outcome.hit_tokens <= outcome.prompt_tokens
    assert outcome.busy_seconds <= outcome.instance_seconds + 1e-6
    again = simulate(with_autoscaler(plan))
    assert again == outcome


def test_another_seed_is_another_day() -> None:
    plan = Plan(EVEN, lambda _: 2.0, 2.0, 60.0, 2)
    assert simulate(plan) != simulate(replace(plan, seed=2))


def test_routing_does_not_change_who_comes() -> None:
    plan = Plan(EVEN, lambda _: 2.0, 2.0, 60.0, 2, lengths=Lengths(turns=1.0))
    arrived = {simulate(replace(plan, routing=name)).arrived for name in ROUTINGS}
    assert len(arrived) == 1


def test_a_full_instance_writes_as_fast_as_was_measured() -> None:
    curve = read(MEASURED)
    for streams in curve.streams:
        env = simpy.Environment()
        instance = Instance(env, curve, 1)
        for number in range(streams):
            instance.take(Request(number, 0.0, 0, 128))
        env.run()
        rate = streams * 128 / env.now
        assert rate == pytest.approx(streams / curve.step(streams), rel=0.02)


def test_a_first_token_comes_when_it_was_measured() -> None:
    curve = read(MEASURED)
    for prompt, measured in ((64, 0.0208), (512, 0.1423)):
        env = simpy.Environment()
        request = Request(1, 0.0, prompt, 1)
        Instance(env, curve, 1).take(request)
        env.run()
        assert request.first_token == pytest.approx(measured, abs=0.004)


def test_a_curve_is_read_from_rates() -> None:
    curve = of_rates([(8, 800.0), (1, 200.0)], [(512, 0.14), (64, 0.028)])
    assert curve.step(1) == 0.005 and curve.step(8) == 0.01
    assert curve.step(4) == pytest.approx(0.005 + 3 / 7 * 0.005)
    assert curve.prefill == pytest.approx(0.112 / 448)
    assert curve.first == pytest.approx(0.028 - 64 * curve.prefill - 0.005)


def test_a_curve_of_a_busy_machine_never_falls() -> None:
    curve = of_rates([(1, 200.0), (4, 370.0), (8, 2500.0)], [(16, 0.03), (256, 0.15)])
    assert curve.step(32) == curve.step(8) == curve.step(4) == pytest.approx(4 / 370)


def test_a_text_that_is_known_is_not_read_again() -> None:
    curve = replace(EVEN, prefill=0.001)
    env = simpy.Environment()
    instance = Instance(env, curve, 1)
    first, second = Request(1, 0.0, 100, 10, 7), Request(2, 0.0, 130, 10, 7, known=110)
    instance.take(first)
    env.run()
    began = env.now
    second.arrived = began
    instance.take(second)
    env.run()
    assert second.first_token - began == pytest.approx(20 * 0.001, abs=1e-6)
    assert instance.meters.hit_tokens == 110


def test_a_day_has_its_mean_and_its_burst() -> None:
    day = Day(10.0, swing=0.5)
    rates = [day.rate(second) for second in range(0, 86_400, 60)]
    assert sum(rates) / len(rates) == pytest.approx(10.0)
    assert min(rates) == day.rate(4 * 3600) == 5.0 and max(rates) == day.rate(16 * 3600) == 15.0
    burst = Day(10.0, swing=0.0, burst=(60.0, 30.0, 5.0))
    assert [burst.rate(at) for at in (59, 60, 89, 90)] == [10, 50, 50, 10]
    draw, now, count = random.Random(1), 0.0, 0
    while (now := next_arrival(draw, burst.rate, burst.most, now)) < 150.0:
        count += 1
    assert count == pytest.approx(10 * 120 + 50 * 30, rel=0.06)


def test_quantiles_are_values_that_were_seen() -> None:
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([], 0.99) == math.inf


def test_the_results_file_has_every_scenario(tmp_path: Path) -> None:
    from bench.fleet.__main__ import SECTIONS, main

    output = tmp_path / "fleet.json"
    assert main(["--only", "failures", "--share", "0.02", "--output", str(output)]) == 0
    assert '"section": "failures"' in output.read_text()
    assert set(SECTIONS) == {"steady", "burst", "failures"}
