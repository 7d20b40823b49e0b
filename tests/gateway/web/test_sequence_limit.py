"""When who is refused for want of room is told to come back."""

from __future__ import annotations

import pytest

from gateway.errors import TooManyRequests
from gateway.web.sequence_limit import SequenceLimit


class Clock:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def end(limit: SequenceLimit, clock: Clock, sequences: int, seconds: float) -> None:
    """Let a request of so many sequences end, after so many seconds."""
    limit.enter(sequences, capacity=64)
    clock.now += seconds
    limit.leave(sequences)


@pytest.mark.parametrize(
    ("sequences", "seconds", "wanted", "told"),
    [
        (1, 2.0, 1, 2),  # one in 2 s, the first of six at the beginning of the 10 s
        (1, 2.0, 6, 10),
        (8, 2.0, 6, 2),
        (8, 0.01, 6, 1),  # never less than a second
        (1, 10.0, 60, 60),  # and never more than a minute
    ],
)
def test_retry_after_is_the_time_in_which_room_comes_at_the_speed_of_late(
    sequences: int, seconds: float, wanted: int, told: int
) -> None:
    clock = Clock()
    limit = SequenceLimit(max_waiting=0, clock=clock)
    for _ in range(6):
        end(limit, clock, sequences, seconds)
    assert limit.retry_after(wanted) == told


def test_only_the_last_half_minute_counts() -> None:
    clock = Clock()
    limit = SequenceLimit(max_waiting=0, clock=clock)
    for _ in range(20):
        end(limit, clock, 8, 0.1)
    clock.now += 31
    assert limit.retry_after(3) == 5  # nothing is known
    end(limit, clock, 1, 0)
    clock.now += 4
    assert limit.retry_after(3) == 12


def test_a_refusal_asks_for_as_many_ends_as_it_lacks() -> None:
    clock = Clock()
    limit = SequenceLimit(max_waiting=2, clock=clock)
    for _ in range(5):
        end(limit, clock, 1, 5.0)
    limit.enter(6, capacity=4)
    with pytest.raises(TooManyRequests) as refused:
        limit.enter(2, capacity=4)
    assert refused.value.retry_after == 8
