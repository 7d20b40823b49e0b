"""A time that runs out, unless it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Timer:
    """At most one time that runs; a new one takes its place."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        """Whether a time runs."""
        return self._handle is not None

    def start(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` after so long."""
        self.stop()
        self._handle = self._loop.call_later(seconds, self._run_out, act)

    def stop(self) -> None:
        """Call nothing."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run_out(self, act: Callable[[], None]) -> None:
        self._handle = None
        act()
