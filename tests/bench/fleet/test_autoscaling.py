"""Autoscalers want what their platforms' documents say."""

from __future__ import annotations

import pytest

from bench.fleet.autoscaling import CloudRun, PodAutoscaler, Queue, Seen


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
    assert rule.wanted(seen(0, inside=24_000.0, ready=10)) == 20
    assert rule.wanted(seen(15, inside=24_000.0, ready=2)) == 6  # four where that is more
    assert rule.wanted(seen(30, inside=240.0, ready=20)) == 20  # it wished for more just now
    assert rule.wanted(seen(400, inside=240.0, ready=20)) == 10
    slow = PodAutoscaler(least=1, most=100)
    assert slow.wanted(seen(0, busy=1.0, ready=10)) == 9
    assert slow.wanted(seen(30, busy=1.0, ready=9)) == 9
    assert slow.wanted(seen(60, busy=1.0, ready=9)) == 8


def test_the_queue_counts_who_waits_and_who_is_written() -> None:
    assert Queue(most=100).wanted(seen(inside=48.0, ready=1)) == 2
    assert Queue(most=100).wanted(seen(inside=40.0, waiting=32.0, ready=3)) == 4
