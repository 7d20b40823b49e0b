"""Runs tests that failed in the crowd once more by themselves, and says which are unsteady.

The machines that run tests are shared: what a neighbour does must not decide whether a change
lands. No failure goes unseen all the same: an unsteady test is a defect of its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from commands.terminal import say

# More failures than these are no accident, and take long one after the other.
MOST_RUN_AGAIN = 5
# pytest's status for "some tests failed"; everything else (an interrupt, a usage error, a test that
# FAIL_ON_SKIP does not let be skipped) is reported by no test that could be run again.
TESTS_FAILED = 1
REPORT = "unsteady.txt"


def run_all(pytest: Callable[[Sequence[str]], int], arguments: Sequence[str], folder: Path) -> int:
    """Run pytest with these arguments, then what failed once more.

    Args:
        pytest: Runs pytest with arguments; returns its status.
        arguments: What the first run gets.
        folder: Where what failed is kept; made anew.

    Returns:
        0 if all tests passed, if need be by themselves; else a status of pytest's.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cache = ["-o", f"cache_dir={folder / 'cache'}"]
    status = pytest([*arguments, *cache])
    failed = _failed(folder)
    if status not in (0, TESTS_FAILED) or not failed:
        return status
    if len(failed) > MOST_RUN_AGAIN:
        say(f"{len(failed)} tests failed: more than {MOST_RUN_AGAIN}, so none is run again")
        return TESTS_FAILED
    say(f"{_tests(failed)} failed; running them again, with nothing beside them")
    status = pytest(["--last-failed", "--last-failed-no-failures", "none", *cache])
    if status not in (0, TESTS_FAILED):
        return status
    again = _failed(folder)
    _report(folder, [test for test in failed if test not in again], again)
    return TESTS_FAILED if again else status


def _report(folder: Path, unsteady: Sequence[str], again: Sequence[str]) -> None:
    """Say which tests failed only at first, and which twice."""
    if unsteady:
        (folder / REPORT).write_text("".join(f"{test}\n" for test in unsteady), encoding="utf-8")
        say(f"{_tests(unsteady)} failed at first and passed when run again:")
    for test in unsteady:
        say(f"unsteady: {test} (a defect; mend it, see CONTRIBUTING.md)")
    for test in again:
        say(f"failed twice: {test}")


def _failed(folder: Path) -> list[str]:
    """Return the tests (files, where these could not be read) that pytest knows as failed."""
    try:
        known = (folder / "cache" / "v" / "cache" / "lastfailed").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return sorted(json.loads(known))


def _tests(names: Sequence[str]) -> str:
    return "1 test" if len(names) == 1 else f"{len(names)} tests"
