"""One request that is being served, and the ways it can be ended from outside."""

from __future__ import annotations

import asyncio
import time
from enum import Enum
from types import TracebackType


class Abort(Enum):
    """Why a request in flight was ended early."""

    CLIENT_GONE = "client_gone"
    STALLED = "stalled"
    WORKER_LOST = "worker_lost"
    DRAINED = "drained"
    REMOVED = "removed"
    POISON = "poison_request"


class Aborted(Exception):
    """Raised inside a request that was ended from outside."""

    def __init__(self, cause: Abort) -> None:
        super().__init__(cause.value)
        self.cause = cause


class InFlight:
    """A request in flight: `async with request:` is the stretch that `abort` can interrupt."""

    __slots__ = (
        "sequences",
        "entered_at",
        "waits_since",
        "has_flowed",
        "client_is_gone",
        "_cause",
        "_task",
        "_before",
    )

    def __init__(self, sequences: int) -> None:
        self.sequences = sequences
        # When the present `async with` began.
        self.entered_at = 0.0
        # Since when a sign of TorchServe's life is awaited; None while the client is written to.
        self.waits_since: float | None = None
        # Whether tokens have come: from then on silence is a stall, however well the worker is.
        self.has_flowed = False
        self.client_is_gone = False
        self._cause: Abort | None = None
        self._task: asyncio.Task[object] | None = None
        self._before = 0

    def abort(self, cause: Abort) -> None:
        """End the request; the first cause counts."""
        if self._task is not None and self._cause is None:
            self._cause = cause
            self._task.cancel()

    def acknowledge(self, cancelled: asyncio.CancelledError) -> Abort:
        """Return the cause of a cancellation that was caught; it is over by that.

        Raises:
            CancelledError: The cancellation was not ours.
        """
        task, cause = self._task, self._cause
        if task is None or cause is None:
            raise cancelled
        task.uncancel()
        self._task = self._cause = None
        return cause

    def is_stalled(self, seconds: float) -> bool:
        """Return whether TorchServe has been silent for longer than `seconds`."""
        since = self.waits_since
        return since is not None and time.perf_counter() - since > seconds

    def moves(self, seconds: float) -> bool:
        """Return whether tokens have come, and the last ones within `seconds`."""
        since = self.waits_since
        return self.has_flowed and since is not None and time.perf_counter() - since <= seconds

    def hear(self) -> None:
        """Note a sign of life."""
        if self.waits_since is not None:
            self.waits_since = time.perf_counter()

    async def __aenter__(self) -> InFlight:
        if self.client_is_gone:
            raise Aborted(Abort.CLIENT_GONE)
        self._task = asyncio.current_task()
        assert self._task is not None
        self._before = self._task.cancelling()
        self._cause = None
        self.has_flowed = False
        self.entered_at = self.waits_since = time.perf_counter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, cause = self._task, self._cause
        self._task = None
        self.waits_since = None
        if task is None or cause is None:
            return
        if task.uncancel() <= self._before and (
            kind is None or issubclass(kind, asyncio.CancelledError)
        ):
            raise Aborted(cause) from None
