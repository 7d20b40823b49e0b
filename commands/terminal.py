"""The messages of a command while it prepares."""

from __future__ import annotations

import os
import sys


def say(line: str) -> None:
    """Print a line at once, on standard error: standard output belongs to the command.

    What cannot be written (standard error is closed, its disk is full) is no fault of the command.
    """
    if sys.stderr is None:
        return
    try:
        print(line, file=sys.stderr, flush=True)
    except BrokenPipeError:
        raise
    except OSError:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (until the end)
