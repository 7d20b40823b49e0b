"""One replica: the model's archive registered once, with its one worker."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

from gateway.replicas.in_flight import Abort, InFlight

FIRST_ASK_SECONDS = 1.0
LONGEST_ASK_SECONDS = 300.0


class State(Enum):
    """What a replica can do now."""

    STARTING = "STARTING"
    READY = "READY"
    DRAINING = "DRAINING"
    LOST = "LOST"


class Replica:
    """A registered copy of a model version, and the requests it serves."""

    def __init__(self, model: str, version: str, number: int) -> None:
        self.model = model
        self.version = version
        self.number = number
        self.state = State.STARTING
        # Sequences in flight, of all its requests.
        self.sequences = 0
        self.requests: set[InFlight] = set()
        self.description: dict[str, Any] = {}
        self.lost_at: float | None = None
        # Whether it is kept for one request alone.
        self.is_reserved = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._watch = WorkerWatch()
        self._dead_pid = -1
        self._held_until = 0.0
        # When its handler may be asked again what it has loaded, and how long to wait after that.
        self._ask_at = 0.0
        self._ask_wait = FIRST_ASK_SECONDS

    @property
    def name(self) -> str:
        """The name TorchServe knows it by; the first one has the model's own."""
        return replica_name(self.model, self.number)

    @property
    def worker(self) -> int:
        """The process id of its worker; 0 while there is none."""
        return self._watch.pid

    @property
    def worker_id(self) -> str:
        """TorchServe's number of its worker, or of its last one; empty while there was none."""
        workers = self.description.get("workers") or [{}]
        return str(workers[0].get("id", ""))

    def had(self, worker: int) -> bool:
        """Whether its worker is, or was at last, the process with this id."""
        return worker in (self.worker, self._dead_pid)

    def hold_back(self, seconds: float) -> None:
        """Count as not ready for a while, though its next worker may be."""
        self._held_until = time.monotonic() + seconds

    def end_worker(self) -> None:
        """Kill its worker, which then is lost like any other."""
        if self.worker > 0:
            with contextlib.suppress(OSError):
                os.kill(self.worker, signal.SIGKILL)

    def enter(self, request: InFlight) -> None:
        """Note a request that is sent to this replica."""
        self.requests.add(request)
        self.sequences += request.sequences
        self._idle.clear()

    def leave(self, request: InFlight) -> None:
        """Note its end."""
        self.requests.discard(request)
        self.sequences -= request.sequences
        if not self.requests:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until nothing is served here."""
        await self._idle.wait()

    async def empty(self, patience: float | None) -> None:
        """Wait until nothing is served here; after `patience` seconds what still is, is ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._idle.wait()
        for request in list(self.requests):
            request.abort(Abort.REMOVED)
        await self._idle.wait()

    def observe(self, description: dict[str, Any], now: float, on_loss: Callable[[], None]) -> bool:
        """Take over what TorchServe says of it; return whether it became ready by that."""
        self.description = description
        workers = description.get("workers") or [{}]
        pid = int(workers[0].get("pid") or 0)
        # TorchServe goes on to call a dead worker READY until it notices.
        is_ready = workers[0].get("status") == "READY" and pid != self._dead_pid
        is_ready = is_ready and time.monotonic() >= self._held_until
        if self.state is State.DRAINING:
            return False
        if not is_ready:
            if self.state is State.READY:
                self.lose(now)
            return False
        if self.state is State.READY and self._watch.pid not in (0, pid):
            self.lose(now)

        def lost() -> None:
            self.lose(asyncio.get_running_loop().time())
            on_loss()

        self._watch.follow(pid, lost)
        became = self.state is not State.READY
        if became:
            self._ask_at, self._ask_wait = 0.0, FIRST_ASK_SECONDS
        self.state = State.READY
        self.lost_at = None
        return became

    def lose(self, now: float) -> None:
        """Note that the worker is gone, and with it all that was served here."""
        self._dead_pid = self._watch.pid or self._dead_pid
        self._watch.stop()
        if self.state is not State.DRAINING:
            self.state = State.LOST
        self.lost_at = now if self.lost_at is None else self.lost_at
        for request in list(self.requests):
            request.abort(Abort.WORKER_LOST)

    def begin(self, *, is_loaded: bool) -> None:
        """Note that TorchServe was started anew; what it has not loaded is overdue at once."""
        if is_loaded:
            self.state, self.lost_at = State.STARTING, None
        else:
            self.state, self.lost_at = State.LOST, -math.inf

    def stay(self, now: float) -> None:
        """Note that it is not removed after all; the next look finds out how it is."""
        self.state = State.LOST
        self.lost_at = now

    def may_be_asked(self, now: float) -> bool:
        """Return whether it is time to ask its handler what it has loaded; count that as asked."""
        if now < self._ask_at:
            return False
        self._ask_at = now + self._ask_wait
        self._ask_wait = min(2 * self._ask_wait, LONGEST_ASK_SECONDS)
        return True

    def close(self) -> None:
        """Stop watching the worker."""
        self._watch.stop()


class WorkerWatch:
    """Tells at once when a process ends, where the system can (Linux); polling does elsewhere."""

    def __init__(self) -> None:
        self.pid = 0
        self._descriptor: int | None = None

    def follow(self, pid: int, lost: Callable[[], None]) -> None:
        """Call `lost` when process `pid` ends."""
        if pid == self.pid:
            return
        self.stop()
        self.pid = pid
        if pid <= 0 or not hasattr(os, "pidfd_open"):
            return
        with contextlib.suppress(OSError):
            self._descriptor = os.pidfd_open(pid)
            asyncio.get_running_loop().add_reader(self._descriptor, self._ended, lost)

    def stop(self) -> None:
        """Watch nothing."""
        self.pid = 0
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _ended(self, lost: Callable[[], None]) -> None:
        lost()
        self.stop()


def replica_name(model: str, number: int) -> str:
    """Return the name of a model's replica: `gpt2`, `gpt2--2`, ..."""
    return model if number == 1 else f"{model}--{number}"
