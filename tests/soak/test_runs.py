"""Short runs of the real thing, and what is made of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from soak.bombs.bomber import BomberFailed, bombing
from soak.bombs.kinds import ORDINARY
from soak.overload.load import BROKEN, REFUSED, SERVED, TOKENS, Reply
from soak.overload.report import markdown
from soak.overload.run import Overload, Step, measured
from tests.conftest import ROOT

SECONDS = 6.0


def soak(*arguments: str, output: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "soak", *arguments, "--output", str(output)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_steady_run_counts_every_request_and_looks_at_every_process(tmp_path: Path) -> None:
    done = soak("--steady", "--minutes", str(SECONDS / 60), "--rate", "5", output=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "5 a second were due:" in done.stdout
    assert "right" in done.stdout and "wrong" not in done.stdout
    seen = (tmp_path / "memory.csv").read_text().splitlines()
    assert {line.split(",")[2] for line in seen[1:]} == {"gateway", "java", "worker"}
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "report.md").read_text() in done.stdout


def test_under_overload_every_request_is_served_or_refused_with_a_time_to_come_back(
    tmp_path: Path,
) -> None:
    """How much is served is the machine's; that nothing breaks is ours."""
    done = soak("--overload", "--minutes", str(2 * SECONDS / 60), output=tmp_path)
    assert f"Streams of {TOKENS} tokens" in done.stdout and "\n| 3 |" in done.stdout, done.stderr
    assert " x " not in done.stdout and "left behind" not in done.stdout
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_bombs_fall_beside_a_stream_whose_gaps_are_compared(tmp_path: Path) -> None:
    """How long the gaps are is the machine's."""
    done = soak("--bombs", "--only", "tokenize", output=tmp_path)
    head, _, row = done.stdout.splitlines()
    assert head == "| bomb | longest gap, ms | usual | times | at most |"
    assert row.startswith("| tokenize | ") and row.endswith(" | 4 |")
    assert done.returncode == (float(row.split(" | ")[3]) >= 4), done.stderr


def test_bombs_that_cannot_fall_are_found_out() -> None:
    with pytest.raises(BomberFailed), bombing(1, ORDINARY):
        pass


LATE = 0.25


def reply(due: float, verdict: str, first: float | None, end: float, why: str = "") -> Reply:
    """A request that was sent `LATE` after it was due."""
    return Reply(due - LATE, due, verdict, first, end, why)


def test_what_ends_while_queues_fill_or_after_the_last_request_is_not_counted() -> None:
    replies = [
        reply(0.1, SERVED, 0.2, 0.5),
        reply(1.0, SERVED, 3.0, 4.0),
        reply(5.0, SERVED, 5.5, 6.0),
        reply(7.0, SERVED, 7.5, 99.0),
        reply(7.5, REFUSED, None, 7.5),
        reply(7.9, BROKEN, None, 7.9, "500"),
    ]
    step = measured(replies, 2.0, 8.0)
    assert (step.offered, step.served, step.refused) == (4 / 6, 2 / 6, 1 / 6)
    assert step.first == (0.5, 0.5) and step.bad == {"500": 1}
    assert step.late == LATE


@pytest.mark.parametrize(
    ("served", "bad", "left", "is_good"),
    [
        (9.5, {}, [], True),
        (9.4, {}, [], False),
        (10.0, {"500": 1}, [], False),
        (10.0, {}, ["java"], False),
    ],
)
def test_overload_is_good_where_it_costs_little_and_nothing_breaks(
    served: float, bad: dict[str, int], left: list[str], is_good: bool
) -> None:
    steps = [
        Step(1.0, 10.0, 10.0, 0.0, (0.1, 0.2), 0.0, {}),
        Step(3.0, 30.0, served, 20.0, (0.5, 0.9), 0.04, bad),
    ]
    found = Overload(10.0, steps, left)
    assert found.is_good is is_good
    told = markdown(found)
    assert f"| 3 | 30.0 | {served:.1f} | 20.0 | 0.50 | 0.90 | 0.04 |" in told
    assert all(f"1 x {why} at 3" in told for why in bad)
