"""The program that measures what a key costs reads traces rightly, and runs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.page.gateway_process import GatewayProcess
from tests.page.times import Key, keys_of
from tests.patience import PATIENCE


def event(name: str, start: int, took: int, thread: int = 1, **more: Any) -> dict[str, Any]:
    return {"name": name, "pid": 1, "tid": thread, "ts": start, "dur": took, **more}


def keydown(start: int) -> dict[str, Any]:
    return event("EventDispatch", start, 1, args={"data": {"type": "keydown"}})


def test_a_trace_is_read_key_by_key() -> None:
    trace = [
        event("RunTask", 1000, 4000, tdur=3000),
        keydown(2000),
        event("RunTask", 6000, 2000, tdur=2000),
        event("Paint", 7000, 500),
        event("RunTask", 20_000, 9000, tdur=9000),
        event("RunTask", 2000, 90_000, thread=2),
        keydown(100_000),
        event("RunTask", 99_500, 1500, tdur=500),
        event("Commit", 100_500, 100),
    ]
    # A task counts from its key on; what another thread did is nobody's.
    assert keys_of(trace) == [Key(5.0, 5.0, 9.0), Key(1.0, 0.5, 0.0)]


def test_a_trace_without_keys_is_none() -> None:
    with pytest.raises(ValueError, match="no keys"):
        keys_of([event("RunTask", 1, 1)])


def test_it_measures_a_service_that_runs(gateway: GatewayProcess) -> None:
    command = [sys.executable, "-m", "tests.page.times", gateway.url, "--keys", "2"]
    done = subprocess.run(
        [*command, "--rounds", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=True,
    )
    for row in ("plain, start", "focus, middle", "typewriter, end", "first words on the screen"):
        assert row in done.stdout
    assert "bytes transferred" in done.stdout
