"""How tests wait: for what is to happen, and longer than any machine that works takes for it."""

from __future__ import annotations

import time
from collections.abc import Callable

# A wait that succeeds ends at once, however long it might have been; only a fault takes all of it.
# Machines that run tests are shared: what takes a moment on a quiet one was seen to take 30 s.
PATIENCE = 120.0


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true.

    Raises:
        AssertionError: It did not, however long that was waited for.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {PATIENCE:.0f} s"
        time.sleep(0.03)
