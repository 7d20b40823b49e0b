"""Errors that end a command early."""

from __future__ import annotations


class CommandError(Exception):
    """The command cannot go on; one line that says why and what to do.

    status: What the process ends with.
    """

    def __init__(self, line: str, status: int = 1) -> None:
        super().__init__(line)
        self.status = status


class Stopped(Exception):
    """A signal asked for the end.

    status: 128 and the signal's number, as a shell says it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.status = 128 + number
