"""One soak: the service is started, references are taken, clients ask, faults come, all is kept."""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.launch.ports import free_ports
from soak import store
from soak.asking import Clients, Outcome, ask
from soak.faults import FAULTS
from soak.faults.fault import Arena, Fault, NotAsPromised, Redis
from soak.memory import Memory, Sample
from soak.questions import Question, draw
from soak.service import Service

# Questions of each kind in a pool, from which clients draw.
OF_EACH = 5
DISK_BYTES = 512 << 20
# What the service is given besides: a stall is found out sooner than in 60 s, so that a soak meets
# many; what ended is started again without growing pauses, which are for what ends by itself.
SETTINGS = {
    "STALL_SECONDS": "10",
    "MAX_RESTARTS": "100000",
    "RESTART_WINDOW_SECONDS": "5",
}
TELL_SECONDS = 10.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Event:
    """A fault that came. `seconds`: until a request that was sent just then was answered."""

    name: str
    at: float
    seconds: float | None
    wrong: str = ""


@dataclass
class Result:
    """All that a soak found."""

    seconds: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)
    replayed: int = 0


def soak(
    *,
    minutes: float,
    most: int | None,
    seed: int,
    clients: int,
    every: float,
    only: Sequence[str],
    log: Path,
    say: Say,
) -> Result:
    """Run one."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        say("packing the model")
        store.make(folder / "store")
        disk = stack.enter_context(_small_disk(folder / "disk"))
        redis = stack.enter_context(_redis())
        settings = dict(SETTINGS)
        if disk is not None:
            settings["TMPDIR"] = str(disk)
        if redis is not None:
            settings |= {
                "REDIS_URL": f"redis://127.0.0.1:{redis.port}/0",
                "REQUESTS_PER_MINUTE": "100000000",
            }
        service = Service(folder / "store", log, settings)
        stack.callback(service.stop)
        questions = draw(seed, OF_EACH)
        say(f"recording {len(questions)} reference replies, one after the other")
        references = [ask(service.port, question) for question in questions]
        known: list[tuple[Question, Any]] = list(zip(questions, references, strict=True))
        arena = Arena(service, random.Random(seed), disk, redis, known)
        asking = Clients(
            service.port, questions, references, count=clients, most=most, seed=seed * 1000
        )
        result = _beside_faults(arena, asking, minutes * 60, every, only, say)
        result.left_behind = service.stop()
        if disk is not None:
            result.left_behind += [str(path) for path in disk.iterdir()]
        result.replayed = sum(bool(record.get("retried")) for record in service.records())
        return result


def _beside_faults(
    arena: Arena, asking: Clients, seconds: float, every: float, only: Sequence[str], say: Say
) -> Result:
    result = Result()
    chosen = [fault for name, fault in FAULTS.items() if not only or name in only]
    result.skipped = {fault.name: why for fault in chosen if (why := fault.lacks(arena))}
    possible = [fault for fault in chosen if fault.name not in result.skipped]
    memory = Memory(arena.service)
    memory.start()
    asking.start()
    began = reported = time.monotonic()
    order = _in_rounds(possible, arena.rng)
    next_fault = began + every / 2
    while time.monotonic() < began + seconds and not asking.are_done:
        now = time.monotonic()
        if now >= next_fault and possible:
            result.events.append(_strike(next(order), arena, now - began))
            next_fault = max(next_fault + every, time.monotonic() + every / 3)
        if now - reported >= TELL_SECONDS:
            reported = now
            say(_progress(asking.outcomes, result.events, now - began, seconds))
        time.sleep(0.1)
    asking.stop()
    memory.stop()
    result.seconds = time.monotonic() - began
    result.outcomes, result.samples = asking.outcomes, memory.samples
    return result


def _in_rounds(faults: Sequence[Fault], rng: random.Random) -> Iterator[Fault]:
    """All kinds of fault in an order of the seed's, again and again."""
    while True:
        yield from rng.sample(faults, len(faults))


def _strike(fault: Fault, arena: Arena, at: float) -> Event:
    try:
        return Event(fault.name, at, fault.act(arena))
    except NotAsPromised as error:
        return Event(fault.name, at, None, str(error))
    except OSError as error:
        return Event(fault.name, at, None, f"{type(error).__name__}: {error}")


def _progress(outcomes: list[Outcome], events: list[Event], at: float, seconds: float) -> str:
    counts: dict[str, int] = {}
    for outcome in list(outcomes):
        counts[outcome.verdict] = counts.get(outcome.verdict, 0) + 1
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    last = f"; last: {events[-1].name}" if events else ""
    return f"{at:4.0f} of {seconds:.0f} s: {verdicts or 'nothing yet'}; {len(events)} faults{last}"


@contextlib.contextmanager
def _small_disk(place: Path) -> Iterator[Path | None]:
    """A small file system that may be filled; none where this user may not mount one."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextlib.contextmanager
def _redis() -> Iterator[Redis | None]:
    if not shutil.which("redis-server"):
        yield None
        return
    redis = Redis(free_ports(1)[0])
    redis.start()
    try:
        yield redis
    finally:
        redis.stop()
