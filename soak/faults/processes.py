"""Processes that are killed, crash or stand still."""

from __future__ import annotations

import contextlib
import signal
import time

import psutil

from soak.faults.fault import Act, Arena, Fault

SHORT_SECONDS = 2.0


def _signal(arena: Arena, role: str, number: signal.Signals) -> float:
    """Send a signal to one process of a role; return when."""
    found = arena.service.family()[role]
    began = time.monotonic()
    if found:
        with contextlib.suppress(psutil.Error):
            arena.rng.choice(found).send_signal(number)
    return began


def _ended_by(role: str, number: signal.Signals) -> Act:
    def act(arena: Arena) -> float:
        return arena.seconds_to_answer(_signal(arena, role, number))

    return act


def _halted(role: str) -> Act:
    """Stopped for a while: nothing is lost, all only wait."""

    def act(arena: Arena) -> None:
        halted = arena.service.family()[role][:1]
        with contextlib.suppress(psutil.Error):
            for process in halted:
                process.suspend()
            time.sleep(SHORT_SECONDS)
        for process in halted:
            with contextlib.suppress(psutil.Error):
                process.resume()

    return act


def _freeze(arena: Arena) -> float:
    """Stopped for good: the service has to find that out, and to end it."""
    arena.seconds_to_answer(time.monotonic())  # so that it is one that serves
    return arena.seconds_to_answer(_signal(arena, "worker", signal.SIGSTOP))


def _both(arena: Arena) -> float:
    _signal(arena, "worker", signal.SIGKILL)
    return arena.seconds_to_answer(_signal(arena, "java", signal.SIGKILL))


FAULTS = (
    Fault("kill-worker", "the worker is killed", _ended_by("worker", signal.SIGKILL)),
    Fault("crash-worker", "the worker crashes (SIGSEGV)", _ended_by("worker", signal.SIGSEGV)),
    Fault("abort-worker", "the worker aborts (SIGABRT)", _ended_by("worker", signal.SIGABRT)),
    Fault("end-worker", "the worker gets SIGTERM", _ended_by("worker", signal.SIGTERM)),
    Fault("halt-worker", "the worker is stopped for 2 s (SIGSTOP)", _halted("worker")),
    Fault("freeze-worker", "the worker is stopped for good", _freeze),
    Fault("kill-java", "Java is killed", _ended_by("java", signal.SIGKILL)),
    Fault("end-java", "Java gets SIGTERM", _ended_by("java", signal.SIGTERM)),
    Fault("halt-java", "Java is stopped for 2 s", _halted("java")),
    Fault("kill-both", "worker and Java are killed", _both),
)
