"""Faults of the machine: a full disk, an unreachable Redis."""

from __future__ import annotations

import contextlib
import signal
import time

import psutil

from soak.faults.fault import Arena, Fault

SECONDS = 3.0
BLOCK = b"x" * (1 << 20)


def _fill_disk(arena: Arena) -> float:
    """No byte can be written for a while, and in that time the worker is killed, too."""
    assert arena.disk is not None
    filler = arena.disk / "filler"
    try:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(BLOCK)
        began = time.monotonic()
        for worker in arena.service.family()["worker"]:
            with contextlib.suppress(psutil.Error):
                worker.send_signal(signal.SIGKILL)
        found = arena.seconds_to_answer(began)
        time.sleep(max(0.0, SECONDS - found))
        return found
    finally:
        filler.unlink(missing_ok=True)


def _take_redis_away(arena: Arena) -> float:
    assert arena.redis is not None
    arena.redis.stop()
    try:
        found = arena.seconds_to_answer(time.monotonic())
        time.sleep(SECONDS)
        return found
    finally:
        arena.redis.start()


FAULTS = (
    Fault(
        "fill-disk",
        "the disk is full, and the worker is killed",
        _fill_disk,
        lambda arena: "" if arena.disk else "this user may not mount file systems",
    ),
    Fault(
        "redis-away",
        "Redis is away for 3 s",
        _take_redis_away,
        lambda arena: "" if arena.redis else "redis-server is not installed",
    ),
)
