"""Runs commands in process groups of their own, so that a signal ends them and all they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import IO

from commands.errors import Stopped

# Ctrl-C, a closed terminal, an end asked for.
HEARD = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
# SIGINT first: pip and the packing clean up after themselves on that one.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
SECONDS_TO_END = 5.0  # after each of ENDING


def hear_signals() -> None:
    """Have signals raise `Stopped`, but those that somebody had this process ignore (nohup)."""
    for number in HEARD:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, _: FrameType | None) -> None:
    for heard in HEARD:  # a second one does not disturb the cleaning up
        signal.signal(heard, signal.SIG_IGN)
    raise Stopped(number)


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
    """Run a command, which reads nothing, to its end; return its status."""
    with started(command, environment) as process:
        return process.wait()


@contextlib.contextmanager
def started(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    output: int | IO[str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Start a command; when the block is left early, it and all that it started are ended."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        env=environment,
        text=True,
        errors="replace",
        preexec_fn=os.setpgrp,
    )
    try:
        yield process
        process.wait()
    except BaseException:
        _end_group(process)
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()


def _end_group(process: subprocess.Popen[str]) -> None:
    for number in ENDING:
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        end = time.monotonic() + SECONDS_TO_END
        while _is_alive(process) and time.monotonic() < end:
            time.sleep(0.05)
    process.wait()


def _is_alive(process: subprocess.Popen[str]) -> bool:
    process.poll()  # or the leader stays as a zombie, and counts
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
