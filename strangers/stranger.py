"""The definition of a client: its packages, and the program that uses it."""

from __future__ import annotations

from dataclasses import dataclass

# What every client is asked to do, in the order of the table.
CALL, STREAM, CANCEL, ERROR, RETRY = "call", "stream", "cancel", "error", "retry"
CHECKS = (CALL, STREAM, CANCEL, ERROR, RETRY)
# A measuring tool does one thing: its own.
RUN = "run"


@dataclass(frozen=True)
class Stranger:
    """One client.

    Attributes:
        name: As people type it behind `--only`.
        program: Its file in strangers/clients; the ending says what runs it.
        package: What is looked up for the version: a distribution of PyPI or npm, or a command.
        installs: What is installed for it; nothing for what the system has.
        checks: What it is asked to do; others it has no words for.
        about: What differs, for the table's notes.
        is_light: Whether it is one of those that ./scripts/test runs.
        npm: Whether its packages are npm's.
        arguments: Words of pip's.
    """

    name: str
    program: str
    package: str
    installs: tuple[str, ...] = ()
    checks: tuple[str, ...] = CHECKS
    about: str = ""
    is_light: bool = True
    npm: bool = False
    arguments: tuple[str, ...] = ()
