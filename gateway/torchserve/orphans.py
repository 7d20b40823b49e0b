"""Collects processes whose parents are gone, where this one is the first of a container."""

from __future__ import annotations

import contextlib
import os


def reap_orphans(own: int) -> None:
    """As PID 1, collect the processes that ended, but for our own child."""
    if os.getpid() != 1:
        return
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid == own:
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(found.si_pid, 0)
