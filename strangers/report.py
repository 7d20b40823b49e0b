"""The table of what worked: on the terminal as it grows, and as docs/clients.md."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from pathlib import Path

from strangers.running import Outcome
from strangers.stranger import CHECKS, RUN, Stranger

Say = Callable[[str], None]
HEAD = """\
# Other people's clients

`./scripts/clients` installs these, each into an environment of its own, and runs them against the
served embedded model; the table is of {date}. Each is asked for a text, which has to be the one
that the service writes for that prompt, by itself (*call*) and in parts (*stream*); to leave a
stream while others write, which the service has to notice (*cancel*); to send a value that is not
allowed, which it has to tell in its own way (*error*); and to come to a service that is full, and
again when that passes (*retry*). A dash is what a client has no words for.

Those marked with a star run in `./scripts/test` too. OpenAI's package for Go could not be had: how
it read streams before 3.43, the stricter way, is a test of their bytes
(`tests/gateway/proxy/test_keep_alive.py`).

"""


def line(stranger: Stranger, version: str, outcomes: Mapping[str, Outcome]) -> str:
    """One client's line for the terminal."""
    words = [f"{check} {_mark(outcomes[check])}" for check in stranger.checks if check in outcomes]
    return f"{stranger.name:<18} {version:<34} {'  '.join(words)}"


def write(rows: Mapping[Stranger, tuple[str, Mapping[str, Outcome]]], path: Path) -> None:
    """Write docs/clients.md."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    lines = [
        "| client | version | " + " | ".join(CHECKS) + " | |",
        "|---|---|" + "---|" * (len(CHECKS) + 1),
    ]
    for stranger, (version, outcomes) in rows.items():
        star = "*" if stranger.is_light else ""
        cells = [_cell(stranger, check, outcomes) for check in CHECKS]
        lines.append(
            f"| {stranger.name}{star} | {version} | {' | '.join(cells)} | {stranger.about} |"
        )
    path.write_text(HEAD.format(date=today) + "\n".join(lines) + "\n", encoding="utf-8")


def _cell(stranger: Stranger, check: str, outcomes: Mapping[str, Outcome]) -> str:
    if RUN in stranger.checks:
        check = RUN
    if check in outcomes:
        return _mark(outcomes[check])
    return "-" if check not in stranger.checks else "not run"


def _mark(outcome: Outcome) -> str:
    return "yes" if outcome.holds else "**no**"
