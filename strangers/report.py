"""The table of what worked: on the terminal as it grows, and as docs/clients.md."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from pathlib import Path

from strangers.catalogue import STRANGERS
from strangers.running import Outcome
from strangers.stranger import CALL, CHECKS, RUN, Stranger

Say = Callable[[str], None]
Rows = Mapping[Stranger, tuple[str, Mapping[str, Outcome]]]
HEAD = """\
# Other people's clients

`./scripts/clients` installs these, each into an environment of its own, and runs them against the
served embedded model; the newest row is of {date}.

Each is asked for a text, which has to be the one that the service writes for that prompt, by itself
(*call*) and in parts (*stream*); to leave a stream while others write, which the service has to
notice (*cancel*); to send a value that is not allowed, which it has to tell in its own way
(*error*); and to come to a service that is full, and again when that passes (*retry*). A dash is
what a client has no words for; what measures does its own work alone, and whether that was right
stands under *call*.

Those marked with a star run in `./scripts/test` too. OpenAI's package for Go could not be had: how
it read streams before 3.43, the stricter way, is a test of their bytes
(`tests/gateway/proxy/test_keep_alive.py`).

"""


def line(stranger: Stranger, version: str, outcomes: Mapping[str, Outcome]) -> str:
    """One client's line for the terminal."""
    words = [f"{check} {_mark(outcomes[check])}" for check in stranger.checks if check in outcomes]
    return f"{stranger.name:<18} {version:<34} {'  '.join(words)}"


def write(rows: Rows, path: Path) -> None:
    """Write these rows of docs/clients.md anew; those of clients that did not run stay."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    kept = _rows(path.read_text(encoding="utf-8")) if path.exists() else {}
    lines = [
        "| client | version | " + " | ".join(CHECKS) + " | |",
        "|---|---|" + "---|" * (len(CHECKS) + 1),
    ]
    for stranger in STRANGERS:
        if stranger in rows:
            lines.append(_row(stranger, *rows[stranger]))
        elif stranger.name in kept:
            lines.append(kept[stranger.name])
    path.write_text(HEAD.format(date=today) + "\n".join(lines) + "\n", encoding="utf-8")


def _rows(document: str) -> dict[str, str]:
    """The rows of a table that was written before, by client."""
    lines = [line for line in document.splitlines() if line.startswith("| ")]
    return {line.split("|")[1].strip().removesuffix("*"): line for line in lines[1:]}


def _row(stranger: Stranger, version: str, outcomes: Mapping[str, Outcome]) -> str:
    star = "*" if stranger.is_light else ""
    cells = [_cell(stranger, check, outcomes) for check in CHECKS]
    return f"| {stranger.name}{star} | {version} | {' | '.join(cells)} | {stranger.about} |"


def _cell(stranger: Stranger, check: str, outcomes: Mapping[str, Outcome]) -> str:
    if RUN in stranger.checks and check == CALL:
        check = RUN
    if check in outcomes:
        return _mark(outcomes[check])
    return "-" if check not in stranger.checks else "not run"


def _mark(outcome: Outcome) -> str:
    return "yes" if outcome.holds else "**no**"
