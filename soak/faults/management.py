"""Changes by those who run the service, under load."""

from __future__ import annotations

import contextlib
import time

import psutil

from soak import store
from soak.faults.fault import Arena, Fault, NotAsPromised


def _manage(arena: Arena, method: str, path: str) -> None:
    status = arena.service.manage(method, path)
    if status != 200:
        raise NotAsPromised(f"{method} {path} got {status}")


def _scale(arena: Arena) -> None:
    _manage(arena, "PUT", "/models/gpt2?min_worker=2&synchronous=true")
    time.sleep(1)
    _manage(arena, "PUT", "/models/gpt2?min_worker=1&max_worker=1&synchronous=true")


def _kill_replica(arena: Arena) -> float:
    _manage(arena, "PUT", "/models/gpt2?min_worker=2&synchronous=true")
    try:
        time.sleep(1)
        began = time.monotonic()
        with contextlib.suppress(psutil.Error, IndexError):
            arena.rng.choice(arena.service.family()["worker"]).kill()
        return arena.seconds_to_answer(began)
    finally:
        _manage(arena, "PUT", "/models/gpt2?min_worker=1&max_worker=1&synchronous=true")


def _change_version(arena: Arena) -> None:
    _manage(arena, "POST", f"/models?url={store.SECOND}&initial_workers=1&synchronous=true")
    try:
        _manage(arena, "PUT", "/models/gpt2/2.0/set-default")
        time.sleep(1)
    finally:
        _manage(arena, "PUT", "/models/gpt2/1.0/set-default")
        _manage(arena, "DELETE", "/models/gpt2/2.0")


def _add_model(arena: Arena) -> None:
    _manage(arena, "POST", f"/models?url={store.OTHER}&initial_workers=1&synchronous=true")
    time.sleep(1)
    _manage(arena, "DELETE", "/models/other")


FAULTS = (
    Fault("scale", "a replica more, and one less", _scale),
    Fault("kill-replica", "one of two replicas is killed", _kill_replica),
    Fault("change-version", "a second version serves for a second, then goes", _change_version),
    Fault("add-model", "another model comes and goes", _add_model),
)
