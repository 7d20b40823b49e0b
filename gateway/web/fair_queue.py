"""Whose turn it is: what finds no slot waits here, fairly, and beyond MAX_WAITING is refused.

Start-time fair queueing (Goyal, Vin and Cheng, 1996): each request begins, in a time of its own
kind, where its caller's last one ended or where the service is now, whichever is later, and takes
its sequences over its caller's weight. The earliest beginning is next. So who sends a thousand
requests waits for its own, and who sends one is next but for what began before it.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.errors import BadRequest, TooManyRequests

# A quarter more than there are slots is sent on, so that one that falls free is taken at once.
AHEAD = 4
# Callers whose last request ended long ago are forgotten when there are more.
MOST_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: a key's name or an address, with a share and a priority (lower comes first)."""

    name: str
    weight: int = 1
    priority: int = 0


@dataclass(slots=True, eq=False)
class Ticket:
    """A request that waits."""

    caller: Caller
    sequences: int
    begins: float  # in the queue's own time
    number: int
    turn: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    @property
    def has_left(self) -> bool:
        """Whether nobody waits for it any more, though it was not given up yet."""
        return self.turn.cancelled()

    @property
    def order(self) -> tuple[int, float, int]:
        """What is least is next."""
        return self.caller.priority, self.begins, self.number


class RecentEnds:
    """Sequences that ended of late; asked for every request, and so never gone through."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: deque[tuple[float, int]] = deque()
        self._total = 0

    def add(self, now: float, sequences: int) -> None:
        """Note that so many ended."""
        self._forget(now)
        self._ends.append((now, sequences))
        self._total += sequences

    def rate(self, now: float) -> float:
        """Sequences that ended in a second of late; 0 if none did."""
        self._forget(now)
        return self._total / max(1.0, now - self._ends[0][0]) if self._ends else 0.0

    def _forget(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now - self._seconds:
            self._total -= self._ends.popleft()[1]


class FairQueue:
    """Lets so many sequences run as there are slots for, and so many wait; refuses more.

    A request that generates nothing waits for nothing, and counts as one while it runs.
    """

    # Only this stretch of the past says how fast sequences end.
    WINDOW_SECONDS = 30.0

    def __init__(
        self,
        max_waiting: int,
        max_seconds: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_waiting = max_waiting
        self._max_seconds = max_seconds
        self._clock = clock
        self._running = 0  # sequences that were let in
        self._answering = 0  # requests that generate nothing
        self._tickets: list[Ticket] = []
        self._capacity = 1
        self._now = 0.0  # in the queue's own time: when what was let in last began
        self._ends: dict[str, float] = {}  # where a caller's last request ends in that time
        self._number = 0
        self._ended = RecentEnds(self.WINDOW_SECONDS)

    @property
    def in_flight(self) -> int:
        """Sequences that run or wait, and requests that generate none."""
        return self._running + self._answering + self._waiting

    @property
    def _waiting(self) -> int:
        return sum(ticket.sequences for ticket in self._tickets)

    async def enter(
        self, caller: Caller, sequences: int, capacity: int, most_at_once: int = sys.maxsize
    ) -> None:
        """Wait until `sequences` may run where there are slots for `capacity` at once.

        `most_at_once` is what one request may have, since it goes to one replica. A capacity of 0
        is that of replicas which are coming back: as before.

        Raises:
            TooManyRequests: Too many would wait, or for too long; says when to come back.
            BadRequest: So many could never be let in.
        """
        self._capacity = capacity = capacity or self._capacity
        most = capacity + self.max_waiting
        if sequences > min(most, most_at_once):
            raise BadRequest(
                "The request asks for too many sequences at once (prompts x `n` or `best_of`); "
                f"at most {min(most, most_at_once)} are allowed",
                param="n",
                code="too_many_texts",
            )
        if not sequences:
            self._answering += 1
            return
        ticket = self._ticket(caller, sequences)
        self._refuse_if_late(ticket)
        self._make_room(ticket, most)
        self._charge(ticket)
        self._tickets.append(ticket)
        self._let_in()
        if not ticket.turn.done():
            await self._wait(ticket)

    def leave(self, sequences: int) -> None:
        """Note that `sequences` which were let in ended, however they did."""
        if not sequences:
            self._answering -= 1
            return
        self._running -= sequences
        self._ended.add(self._clock(), sequences)
        self._let_in()

    def close(self, error: Exception) -> None:
        """Answer whoever still waits with `error`."""
        for ticket in self._tickets:
            if not ticket.has_left:
                ticket.turn.set_exception(error)
        self._tickets.clear()

    def retry_after(self, sequences: int) -> int:
        """Return the seconds in which `sequences` will end, at the speed of late (1 to 60)."""
        rate = self._ended.rate(self._clock())
        return min(60, max(1, math.ceil(sequences / rate))) if rate else 5

    def _ticket(self, caller: Caller, sequences: int) -> Ticket:
        self._number += 1
        begins = max(self._now, self._ends.get(caller.name, 0.0))
        return Ticket(caller, sequences, begins, self._number)

    def _charge(self, ticket: Ticket) -> None:
        """Let the caller's next request begin behind this one."""
        self._ends[ticket.caller.name] = ticket.begins + ticket.sequences / ticket.caller.weight
        if len(self._ends) > MOST_REMEMBERED:
            self._ends = {name: end for name, end in self._ends.items() if end > self._now}

    def _refund(self, ticket: Ticket) -> None:
        """Let the caller's next request begin as if this one had never been."""
        if ticket.caller.name in self._ends:
            self._ends[ticket.caller.name] -= ticket.sequences / ticket.caller.weight

    def _make_room(self, ticket: Ticket, most: int) -> None:
        """Take what is last of whoever has most waiting out of the queue, until `ticket` fits.

        Raises:
            TooManyRequests: Nobody has more waiting than who comes.
        """
        over = self._running + self._waiting + ticket.sequences - most
        gives_way: list[Ticket] = []
        while over > sum(each.sequences for each in gives_way):
            heaviest = self._heaviest(ticket, gives_way)
            if heaviest is None:  # and nobody has given way in vain
                raise self.full(over)
            gives_way.append(heaviest)
        for each in gives_way:
            self._tickets.remove(each)
            self._refund(each)
            if not each.has_left:
                each.turn.set_exception(self.full(over))

    def _heaviest(self, ticket: Ticket, gone: list[Ticket]) -> Ticket | None:
        """The last request of who has most waiting for its weight, if that is not who comes."""
        waiting: Counter[Caller] = Counter()
        left = [each for each in self._tickets if each not in gone]
        for each in (*left, ticket):
            waiting[each.caller] += each.sequences

        def weight(caller: Caller) -> tuple[int, float]:
            return caller.priority, waiting[caller] / caller.weight

        heaviest = max(waiting, key=weight)
        if weight(heaviest) <= weight(ticket.caller):
            return None
        return max((t for t in left if t.caller == heaviest), key=lambda t: t.order)

    def full(self, over: int = 1) -> TooManyRequests:
        """Return the refusal of who comes when `over` sequences have to end first."""
        seconds = self.retry_after(over)
        return TooManyRequests(
            f"The service is full; try again in {seconds} s", code="full", retry_after=seconds
        )

    def _refuse_if_late(self, ticket: Ticket) -> None:
        """Refuse at once what could not begin in time, at the speed of late.

        Raises:
            TooManyRequests: It could not.
        """
        rate = self._ended.rate(self._clock())
        before = sum(each.sequences for each in self._tickets if each.order < ticket.order)
        free = self._limit - self._running
        late = (before + ticket.sequences - free) / rate - self._max_seconds if rate else 0.0
        if late > 0:
            seconds = min(60, math.ceil(late))
            raise TooManyRequests(
                f"The request would wait longer than {self._max_seconds:g} s; "
                f"try again in {seconds} s",
                code="full",
                retry_after=seconds,
            )

    @property
    def _limit(self) -> int:
        """Sequences that are let in at once."""
        return self._capacity + min(self._capacity // AHEAD, self.max_waiting)

    def _let_in(self) -> None:
        # Who was cancelled in this turn of the event loop is still here, and is not to be let in.
        for gone in [ticket for ticket in self._tickets if ticket.has_left]:
            self._tickets.remove(gone)
            self._refund(gone)
        while self._tickets:
            first = min(self._tickets, key=lambda ticket: ticket.order)
            if self._running and self._running + first.sequences > self._limit:
                return
            self._tickets.remove(first)
            self._running += first.sequences
            self._now = max(self._now, first.begins)
            first.turn.set_result(None)

    async def _wait(self, ticket: Ticket) -> None:
        seconds = None if math.isinf(self._max_seconds) else self._max_seconds
        try:
            async with asyncio.timeout(seconds):
                await ticket.turn
        except TimeoutError:
            self._give_up(ticket)
            raise self.full(ticket.sequences) from None
        except asyncio.CancelledError:
            self._give_up(ticket)
            raise

    def _give_up(self, ticket: Ticket) -> None:
        """Nobody waits for it any more."""
        if ticket in self._tickets:
            self._tickets.remove(ticket)
            self._refund(ticket)
            self._let_in()  # what is next may need less room
        elif ticket.turn.done() and not ticket.turn.cancelled() and not ticket.turn.exception():
            self.leave(ticket.sequences)  # its turn came at the same moment
