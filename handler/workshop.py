"""A thread for work that is too long for a step: long bodies, long replies.

Everybody's next tokens wait for the thread that TorchServe calls. What runs here goes on beside it,
one thing after the other, and by one slice in each step: `pace` stands where a slice ends, since
Python's lock is not let go within one (JSON is parsed, and a body judged, in one call each).
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from typing import Any, TypeVar

from handler.older_pythons import SLOTS

Result = TypeVar("Result")

# A slice waits no longer than this for its step: there may be none.
PATIENCE_SECONDS = 0.05
# How often the next slice is let run where there are no steps.
SLICE_SECONDS = 0.001
# How long others may be kept from Python's lock while something runs here.
SWITCH_SECONDS = 0.001

_here = threading.local()


def pace() -> None:
    """End a slice: wait for the next step. Nothing on any other thread."""
    turn: threading.Event | Breath | None = getattr(_here, "turn", None)
    if turn is not None:
        turn.wait(PATIENCE_SECONDS)
        turn.clear()


class Breath:
    """A turn that comes by itself: a thread that takes it lets others have the processor."""

    def wait(self, timeout: float) -> None:
        """Rest for a moment."""
        time.sleep(min(timeout, SLICE_SECONDS))

    def clear(self) -> None:
        """See `threading.Event.clear`: the next one comes as well."""


def run_beside(work: Callable[[], Result]) -> Result:
    """Do something long on a thread of its own, where an event loop goes on: it rests at `pace`."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    _here.turn = Breath()
    try:
        return work()
    finally:
        _here.turn = None
        sys.setswitchinterval(usual)


def is_inside() -> bool:
    """Whether this thread is a workshop's, for which nobody's step waits."""
    return getattr(_here, "turn", None) is not None


@dataclass(frozen=True, **SLOTS)
class Beginning:
    """A request that is being judged, and whether it came from the gateway."""

    work: Future[Any]
    is_framed: bool


@dataclass(frozen=True, **SLOTS)
class Part:
    """A part of a reply that is being written out, whether it is the last, and what came since."""

    text: Future[str]
    is_last: bool
    later: list[Any] = field(default_factory=list)


class Workshop:
    """Runs one thing at a time, in the order in which they came."""

    def __init__(self) -> None:
        self._turn = threading.Event()
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="workshop", initializer=self._settle_in
        )

    def start(self, work: Callable[[], Result]) -> Future[Result]:
        """Have something done."""
        return self._thread.submit(self._run, work)

    def step(self) -> None:
        """Let one slice run: a step has ended."""
        self._turn.set()

    def wait(self, begun: Iterable[Future[Any]], seconds: float) -> None:
        """Wait for one of what was begun; nothing else is to be done meanwhile."""
        works = list(begun)
        latest = time.monotonic() + seconds
        self.step()
        while works and time.monotonic() < latest:
            if wait_for(works, SLICE_SECONDS, FIRST_COMPLETED).done:
                return
            self.step()

    def close(self) -> None:
        """Begin nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _settle_in(self) -> None:
        _here.turn = self._turn

    @staticmethod
    def _run(work: Callable[[], Result]) -> Result:
        usual = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            return work()
        finally:
            sys.setswitchinterval(usual)
