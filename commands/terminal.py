"""What a person reads while a command prepares."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Print a line at once, on standard error: standard output belongs to the command."""
    print(line, file=sys.stderr, flush=True)
