"""Tests that fail in the crowd and pass by themselves: run once more, told, and not too many."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from commands.unsteady import MOST_RUN_AGAIN, REPORT, run_all
from tests.patience import PATIENCE

CROWD = ["-n", "2", "--dist", "loadfile"]
CONFTEST = """
import os
import pytest
IN_THE_CROWD = "PYTEST_XDIST_WORKER" in os.environ

@pytest.fixture
def quiet():
    assert not IN_THE_CROWD, "it is too loud to begin"

@pytest.fixture
def tidy():
    yield
    assert not IN_THE_CROWD, "it is too loud to end"
"""
STEADY = "def test_steady(): pass\n"
UNSTEADY = """
import pytest
from conftest import IN_THE_CROWD

@pytest.mark.parametrize("kind", ["\\u00e9 a/b::c [d]"])
def test_call(kind): assert not IN_THE_CROWD
def test_begin(quiet): pass
def test_end(tidy): pass
"""
BROKEN = "def test_broken(): assert False\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a small project has its tests; the harness keeps what failed in `kept`."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_steady.py").write_text(STEADY)
    return tmp_path


def run(folder: Path) -> int:
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # they take longer than the tests

    def pytest_(arguments: Sequence[str]) -> int:
        command = [sys.executable, "-m", "pytest", "-p", "xdist", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, timeout=PATIENCE).returncode

    return run_all(pytest_, CROWD, folder / "kept")


def unsteady(folder: Path) -> list[str]:
    report = folder / "kept" / REPORT
    return report.read_text().splitlines() if report.exists() else []


def names(tests: Sequence[str]) -> list[str]:
    return [test.partition("::")[2].partition("[")[0] for test in tests]


def test_nothing_is_run_again_where_all_pass(tmp_path: Path) -> None:
    ran: list[Sequence[str]] = []
    assert run_all(lambda arguments: ran.append(arguments) or 0, CROWD, tmp_path) == 0
    assert len(ran) == 1


def test_what_fails_only_in_the_crowd_passes_and_is_told(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "test_unsteady.py").write_text(UNSTEADY)
    (folder / "kept").mkdir()
    (folder / "kept" / REPORT).write_text("of a run before")
    assert run(folder) == 0
    assert names(unsteady(folder)) == ["test_begin", "test_call", "test_end"]
    last = capfd.readouterr().err.splitlines()[-3:]
    assert all(line.startswith("unsteady: test_unsteady.py::") for line in last), last


def test_what_fails_twice_fails_and_what_passes_beside_it_is_told(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "test_unsteady.py").write_text(UNSTEADY + BROKEN)
    assert run(folder) == 1
    assert names(unsteady(folder)) == ["test_begin", "test_call", "test_end"]
    assert "failed twice: test_unsteady.py::test_broken" in capfd.readouterr().err


def test_a_file_that_cannot_be_read_fails(folder: Path) -> None:
    (folder / "test_syntax.py").write_text("def test_(:\n")
    assert run(folder) != 0


def test_many_failures_are_no_accident(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    many = "".join(UNSTEADY.replace("def test_", f"def test_{n}_") for n in range(2))
    (folder / "test_unsteady.py").write_text(many)
    assert 2 * UNSTEADY.count("def ") > MOST_RUN_AGAIN
    assert run(folder) == 1
    assert unsteady(folder) == [] and "none is run again" in capfd.readouterr().err


@pytest.mark.parametrize("status", [2, 3, 10, -9], ids=["stopped", "crash", "skip", "killed"])
def test_what_no_test_tells_of_is_not_run_again(tmp_path: Path, status: int) -> None:
    """A run that did not come to its end, or skipped what must not be skipped."""
    statuses = [status]
    assert run_all(lambda _: statuses.pop(), CROWD, tmp_path / "kept") == status
