"""Has one client do one thing, and says whether it did."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from strangers.environments import Home
from strangers.served import Served
from strangers.stranger import CANCEL, RETRY, Stranger

SECONDS = 300
LONG_SECONDS = 1800


@dataclass(frozen=True)
class Outcome:
    """How a check ended; `why` says what went wrong, and nothing where nothing did."""

    why: str
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether it did what was asked."""
        return not self.why


def run_check(stranger: Stranger, check: str, served: Served) -> Outcome:
    """Run one check of a client whose environment is there."""
    began = time.monotonic()
    with _circumstances(check, served):
        why = _run(stranger, check, served)
    return Outcome(why, time.monotonic() - began)


@contextlib.contextmanager
def _circumstances(check: str, served: Served) -> Iterator[None]:
    """What the service goes through meanwhile."""
    if check == CANCEL:
        with served.crowded():
            yield
    elif check == RETRY:
        with served.full_until_refused():
            yield
    else:
        yield


def _run(stranger: Stranger, check: str, served: Served) -> str:
    home = Home(stranger)
    # Whatever this Python was told (by scripts/clients too) is nothing for that of a client.
    passed = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = {**passed, **served.variables(), **home.variables, "NO_COLOR": "1"}
    left = served.left
    with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryDirectory() as folder:
        running = subprocess.Popen(
            home.command(check),
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        watchdog = threading.Timer(SECONDS, running.kill)
        try:
            if check == CANCEL:
                watchdog.start()
            if check == CANCEL and not _saw_it_leave(running, served, left):
                return _reason(errors) or "the service did not see that the stream was left"
            status = _end(running)
        finally:
            watchdog.cancel()
            running.kill()
            running.wait()
        if status is None:
            return "it did not end"
        return _reason(errors) or f"status {status}" if status else ""


def _saw_it_leave(running: subprocess.Popen[str], served: Served, before: float) -> bool:
    """Whether the service noticed, while the client still runs."""
    assert running.stdout is not None and running.stdin is not None
    for line in running.stdout:
        if line.strip() == "left":
            seen = served.wait_until_left(before)
            with contextlib.suppress(OSError):
                running.stdin.write("\n")
                running.stdin.flush()
            return seen
    return False


def _end(running: subprocess.Popen[str]) -> int | None:
    try:
        running.communicate(timeout=LONG_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    return running.returncode


def _reason(errors: object) -> str:
    """The last line of what went wrong."""
    errors.seek(0)  # type: ignore[attr-defined]
    lines = [line.strip() for line in errors.read().splitlines() if line.strip()]  # type: ignore[attr-defined]
    return lines[-1][:300] if lines else ""
