"""One instance in simulated time: slots that share its steps, prompts read first come first."""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import simpy

from bench.fleet.curve import Curve

# Sequences that may wait for a slot (MAX_WAITING), and for how long (MAX_QUEUE_SECONDS).
MOST_WAITING = 64
MOST_SECONDS = 60.0
# A prompt's tail and a text's end are this near before they count as reached.
NEAR = 1e-9
# A step takes some time, whatever a curve says.
SHORTEST = 1e-12


@dataclass(slots=True)
class Request:
    """One request on its way; times are of the simulation, in seconds."""

    number: int
    arrived: float
    prompt: int
    new: int
    session: int = -1
    # Tokens of the prompt that the session's text has had before.
    known: int = 0
    tries: int = 1
    to_read: float = 0.0
    first_token: float = -1.0
    joined: float = -1.0
    ends: float = 0.0
    on_end: Callable[[Request, str], None] | None = None


@dataclass(slots=True)
class Meters:
    """What an instance has done, and what an autoscaler looks at."""

    tokens: int = 0
    prompt_tokens: int = 0
    hit_tokens: int = 0
    busy: float = 0.0
    # Integrals over time: of what is in it, and of what of that waits.
    inside: float = 0.0
    waiting: float = 0.0
    since: float = 0.0


@dataclass(eq=False, slots=True)
class Instance:
    """Processor sharing by steps, between two events as a fluid.

    All sequences that run get a token a step. While prompts are read, a step also carries what
    its bound leaves of them, and takes longer by that.
    """

    env: simpy.Environment
    curve: Curve
    number: int
    most_waiting: int = MOST_WAITING
    most_seconds: float = MOST_SECONDS
    is_open: bool = True
    is_lost: bool = False
    place: int = -1
    born: float = 0.0
    meters: Meters = field(default_factory=Meters)
    _queue: deque[Request] = field(default_factory=deque)
    _reading: deque[Request] = field(default_factory=deque)
    _writing: list[tuple[float, int, Request]] = field(default_factory=list)
    # Tokens that each text that was there from the start would have by now.
    _written: float = 0.0
    _turn: int = 0
    _known: OrderedDict[int, int] = field(default_factory=OrderedDict)

    @property
    def load(self) -> int:
        """Requests in it."""
        return len(self._queue) + len(self._reading) + len(self._writing)

    @property
    def waiting(self) -> int:
        """Requests in it that have no slot."""
        return len(self._queue)

    def knows(self, session: int) -> bool:
        """Return whether it has computed a session's text."""
        return session in self._known

    def take(self, request: Request) -> bool:
        """Take a request, or refuse it since too many wait."""
        self._advance()
        if self._slots_left() <= 0 and len(self._queue) >= self.most_waiting:
            return False
        self._queue.append(request)
        self._fill()
        self._plan()
        return True

    def lose(self) -> list[Request]:
        """Die; return what was in it."""
        self._advance()
        self.is_open, self.is_lost = False, True
        writing = [request for _, _, request in self._writing]
        lost = [*self._queue, *self._reading, *writing]
        self._queue.clear()
        self._reading.clear()
        self._writing.clear()
        self._known.clear()
        self._turn += 1
        return lost

    def settle(self) -> Meters:
        """Bring the meters up to now."""
        self._advance()
        self._plan()
        return self.meters

    # In simulated time

    def _slots_left(self) -> int:
        return self.curve.slots - len(self._reading) - len(self._writing)

    def _rates(self) -> tuple[float, float]:
        """Return tokens a second: of each text that is written, and of the prompt that is read."""
        writing = len(self._writing)
        step = self.curve.step(max(1, writing))
        if not self._reading:
            return (1 / step if writing else 0.0), 0.0
        chunk = max(1, self.curve.step_tokens - writing)
        # Without a text, a step is a prompt's own, but for what any step takes.
        base = step if writing else 0.0
        seconds = max(base + chunk * self.curve.prefill, SHORTEST)
        return (1 / seconds if writing else 0.0), chunk / seconds

    def _advance(self) -> None:
        """Let the time pass since the last event."""
        meters, now = self.meters, self.env.now
        passed = now - meters.since
        if passed <= 0:
            return
        meters.since = now
        meters.inside += passed * self.load
        meters.waiting += passed * len(self._queue)
        if self._reading or self._writing:
            meters.busy += passed
            writes, reads = self._rates()
            self._written += passed * writes
            if self._reading:
                self._reading[0].to_read -= passed * reads

    def _fill(self) -> None:
        """Give free slots to those that wait."""
        now = self.env.now
        while self._queue and self._slots_left() > 0:
            request = self._queue.popleft()
            if now - request.arrived > self.most_seconds:
                self._end(request, "late")
                continue
            known = min(self._known.pop(request.session, 0), request.known)
            self.meters.hit_tokens += known
            self.meters.prompt_tokens += request.prompt
            request.to_read = max(request.prompt - known, 1) if request.prompt else 0.0
            request.joined = now
            self._reading.append(request)

    def _plan(self) -> None:
        """Have the next event come when it is due."""
        self._turn += 1
        writes, reads = self._rates()
        due, is_read = float("inf"), False
        if self._reading:
            due, is_read = max(self._reading[0].to_read, 0.0) / reads, True
        if self._writing:
            ended = max(self._writing[0][0] - self._written, 0.0) / writes
            if ended < due:
                due, is_read = ended, False
        if due == float("inf"):
            return
        turn = self._turn
        event = self.env.timeout(due)
        event.callbacks.append(lambda _: self._happen(turn, is_read))

    def _happen(self, turn: int, is_read: bool) -> None:
        """What was planned is due: reached, whatever rounding has left of it."""
        if turn != self._turn:
            return
        self._advance()
        if is_read:
            self._reading[0].to_read = 0.0
        else:
            self._written = max(self._written, self._writing[0][0])
        while self._reading and self._reading[0].to_read <= NEAR:
            self._begin(self._reading.popleft())
        while self._writing and self._writing[0][0] - self._written <= NEAR:
            request = heapq.heappop(self._writing)[2]
            self._remember(request)
            self._end(request, "done")
        self._fill()
        self._plan()

    def _begin(self, request: Request) -> None:
        """A prompt is read: its first token is there."""
        request.first_token = self.env.now + self.curve.first
        request.ends = self._written + request.new
        heapq.heappush(self._writing, (request.ends, request.number, request))

    def _remember(self, request: Request) -> None:
        """Keep what was computed, as free slots do."""
        self.meters.tokens += request.new
        if request.session >= 0:
            self._known[request.session] = request.prompt + request.new
            self._known.move_to_end(request.session)
        while len(self._known) > max(0, self._slots_left()):
            self._known.popitem(last=False)

    def _end(self, request: Request, how: str) -> None:
        if request.on_end is not None:
            request.on_end(request, how)
