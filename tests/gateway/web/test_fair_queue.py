"""Who is next where slots are few, and when who is refused is told to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest, TooManyRequests, Unavailable
from gateway.web.fair_queue import Caller, FairQueue

ANN, BOB = Caller("ann"), Caller("bob")


class Clock:
    """A clock that is set by hand, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


class Office:
    """A queue and who stands in it; notes who was let in, in that order."""

    def __init__(self, capacity: int, max_waiting: int = 1000, **options: Any) -> None:
        self.queue = FairQueue(max_waiting, **options)
        self.capacity = capacity
        self.order: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def ask(self, caller: Caller, sequences: int = 1) -> asyncio.Task[None]:
        async def enter() -> None:
            await self.queue.enter(caller, sequences, self.capacity)
            self.order.append(caller.name)

        task = asyncio.create_task(enter())
        self.tasks.append(task)
        await settle()
        return task

    async def serve(self, count: int) -> None:
        """Let so many sequences end, one after the other."""
        for _ in range(count):
            self.queue.leave(1)
            await settle()


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def test_who_sends_one_is_next_whoever_sent_a_thousand() -> None:
    async def story() -> None:
        office = Office(capacity=4)
        for _ in range(500):
            await office.ask(ANN)
        let_in = len(office.order)
        await office.ask(BOB)
        await office.serve(2)
        assert "bob" in office.order[let_in : let_in + 2]

    run(story())


@pytest.mark.parametrize("weight", [2, 5])
def test_slots_are_shared_by_weight(weight: int) -> None:
    async def story() -> None:
        office = Office(capacity=1)
        for _ in range(60):
            await office.ask(Caller("heavy", weight))
            await office.ask(Caller("light"))
        await office.serve(60)
        served = office.order[:60]
        assert abs(served.count("heavy") - 60 * weight / (weight + 1)) <= 2

    run(story())


def test_a_lower_priority_number_comes_first() -> None:
    async def story() -> None:
        office = Office(capacity=1)
        for caller in (ANN, Caller("late", priority=3), ANN, Caller("early", priority=-1)):
            await office.ask(caller)
        await office.serve(4)
        assert office.order == ["ann", "early", "ann", "late"]

    run(story())


def test_a_full_queue_makes_room_for_who_has_less_in_it() -> None:
    async def story() -> None:
        office = Office(capacity=1, max_waiting=4)
        tasks = [await office.ask(ANN) for _ in range(5)]
        with pytest.raises(TooManyRequests):  # nobody has more than ann
            await (await office.ask(ANN))
        bob = await office.ask(BOB)
        assert not bob.done() and isinstance(tasks[-1].exception(), TooManyRequests)
        assert not any(task.done() for task in tasks[2:-1])

    run(story())


def test_nobody_gives_way_in_vain() -> None:
    async def story() -> None:
        office = Office(capacity=1, max_waiting=6)
        waiting = [await office.ask(caller) for caller in (ANN, ANN, ANN, ANN, BOB, BOB, BOB)]
        with pytest.raises(TooManyRequests):  # two of ann's would not be enough
            await (await office.ask(Caller("eve"), 5))
        assert not any(task.done() for task in waiting[1:])

    run(story())


def test_who_leaves_the_queue_is_not_charged() -> None:
    async def story() -> None:
        office = Office(capacity=1)
        await office.ask(BOB)
        for task in [await office.ask(ANN) for _ in range(50)]:
            task.cancel()
        await settle()
        for caller in (BOB, BOB, ANN):
            await office.ask(caller)
        await office.serve(3)
        assert office.order.index("ann") <= 2

    run(story())


def test_what_could_not_begin_in_time_is_refused_at_once() -> None:
    async def story() -> None:
        clock = Clock()
        office = Office(capacity=1, max_seconds=10, clock=clock)
        for _ in range(5):  # one ends every two seconds
            await office.ask(ANN)
            clock.now += 2
            await office.serve(1)
        with pytest.raises(TooManyRequests, match="longer than 10 s"):
            for _ in range(20):
                task = await office.ask(ANN)
                if task.done():
                    task.result()
        assert office.queue.in_flight == 1 + 6  # five in the eight seconds between the ends

    run(story())


def test_who_waits_too_long_is_refused_and_forgotten() -> None:
    async def story() -> None:
        office = Office(capacity=1, max_seconds=0.05)
        await office.ask(ANN)
        with pytest.raises(TooManyRequests):
            await (await office.ask(BOB))
        assert office.queue.in_flight == 1

    run(story())


def test_closing_answers_who_waits() -> None:
    async def story() -> None:
        office = Office(capacity=1)
        await office.ask(ANN)
        waiting = await office.ask(BOB)
        office.queue.close(Unavailable("over", code="draining"))
        with pytest.raises(Unavailable):
            await waiting

    run(story())


ACTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["ann", "bob", "eve"]), st.integers(0, 5)),
        st.tuples(st.just("leave"), st.integers(0, 30)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
    ),
    max_size=60,
)


@given(acts=ACTS, capacity=st.integers(1, 6), max_waiting=st.integers(0, 8))
def test_no_place_is_lost_and_none_is_given_twice(
    acts: list[tuple[str, int]], capacity: int, max_waiting: int
) -> None:
    async def story() -> None:
        queue = FairQueue(max_waiting)
        tasks: dict[asyncio.Task[None], int] = {}

        def running() -> list[asyncio.Task[None]]:
            return [t for t in tasks if t.done() and not t.cancelled() and not t.exception()]

        for act, number in acts:
            if act == "leave" and running():
                task = running()[number % len(running())]
                queue.leave(tasks.pop(task))
            elif act == "cancel" and tasks:
                pending = [t for t in tasks if not t.done()]
                if pending:
                    pending[number % len(pending)].cancel()
            elif act not in ("leave", "cancel"):
                asked = asyncio.create_task(queue.enter(Caller(act), number, capacity))
                tasks[asked] = number
            await settle()
            let_in = sum(tasks[task] for task in running())
            waiting = sum(count for task, count in tasks.items() if not task.done())
            most = capacity + min(capacity // 4, max_waiting)
            assert let_in <= max(most, *(tasks[t] for t in running()), 0)
            assert let_in + waiting <= capacity + max_waiting
            idle = [t for t in running() if tasks[t] == 0]
            assert queue.in_flight == let_in + waiting + len(idle)
            assert not waiting or let_in  # nobody waits for nothing
        for task in running():
            queue.leave(tasks.pop(task))
        await settle()
        for task in running():
            queue.leave(tasks.pop(task))
            await settle()

    run(story())


def test_more_than_could_ever_be_let_in_is_no_question_of_time() -> None:
    async def story() -> None:
        queue = FairQueue(max_waiting=2)
        with pytest.raises(BadRequest):
            await queue.enter(ANN, 7, capacity=4)

    run(story())


async def end(queue: FairQueue, clock: Clock, sequences: int, seconds: float) -> None:
    """Let a request of so many sequences end, after so many seconds."""
    await queue.enter(ANN, sequences, capacity=64)
    clock.now += seconds
    queue.leave(sequences)


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
    async def story() -> None:
        clock = Clock()
        queue = FairQueue(max_waiting=0, clock=clock)
        for _ in range(6):
            await end(queue, clock, sequences, seconds)
        assert queue.retry_after(wanted) == told

    run(story())


def test_only_the_last_half_minute_counts() -> None:
    async def story() -> None:
        clock = Clock()
        queue = FairQueue(max_waiting=0, clock=clock)
        for _ in range(20):
            await end(queue, clock, 8, 0.1)
        clock.now += 31
        assert queue.retry_after(3) == 5  # nothing is known
        await end(queue, clock, 1, 0)
        clock.now += 4
        assert queue.retry_after(3) == 12

    run(story())


def test_a_refusal_asks_for_as_many_ends_as_it_lacks() -> None:
    async def story() -> None:
        clock = Clock()
        queue = FairQueue(max_waiting=2, clock=clock)
        for _ in range(5):
            await end(queue, clock, 1, 5.0)
        await queue.enter(ANN, 5, capacity=4)
        with pytest.raises(TooManyRequests) as refused:
            await queue.enter(ANN, 3, capacity=4)
        assert refused.value.retry_after == 8

    run(story())


def test_who_leaves_as_a_slot_falls_free_takes_none_along() -> None:
    """In the same turn of the event loop, before its task was told."""

    async def run() -> None:
        office = Office(1)
        await office.ask(ANN)
        leaving, closing = await office.ask(ANN), await office.ask(BOB)
        leaving.cancel()
        office.queue.leave(1)
        await settle()
        assert office.order == ["ann", "bob"] and closing.done()
        office.queue.leave(1)
        assert office.queue.in_flight == 0

    asyncio.run(run())
