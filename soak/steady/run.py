"""One steady run: the service is started, short requests come, memory is looked at."""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from soak import store
from soak.asking import RIGHT
from soak.run import Say
from soak.service import Service
from soak.steady.footprint import Footprint, Table, look
from soak.steady.load import Load

CLIENTS = 8
LOOK_SECONDS = 30.0
TELL_SECONDS = 300.0


@dataclass
class Steady:
    """What a steady run found."""

    rate: float
    seconds: float = 0.0
    asked: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    footprints: list[Footprint] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether every request was answered and no process was left behind."""
        return set(self.verdicts) == {RIGHT} and not self.left_behind


def steady(*, minutes: float, rate: float, seed: int, folder: Path, say: Say) -> Steady:
    """Run one; samples go to `memory.csv` in the folder while it runs.

    Args:
        minutes: How long.
        rate: Requests a second.
        seed: Of the requests.
        folder: For the samples and the service's log.
        say: Tells how it goes.
    """
    result = Steady(rate)
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="steady-")))
        say("packing the model")
        store.make(place / "store")
        service = Service(place / "store", folder / "service.log", {})
        stack.callback(service.stop)
        load = Load(service.port, rate=rate, clients=CLIENTS, seed=seed)
        _beside_looks(service, load, minutes * 60, Table(folder / "memory.csv"), result, say)
        result.asked = load.asked
        result.verdicts, result.failures = dict(load.verdicts), dict(load.failures)
        result.left_behind = service.stop()
    return result


def _beside_looks(
    service: Service, load: Load, seconds: float, table: Table, result: Steady, say: Say
) -> None:
    began = reported = time.monotonic()
    load.start()
    try:
        while (at := time.monotonic() - began) < seconds:
            seen = look(service, at, load.asked)
            table.add(seen)
            result.footprints += seen
            if time.monotonic() - reported >= TELL_SECONDS:
                reported = time.monotonic()
                say(f"{load.asked:,} requests: {dict(load.verdicts)}")
            time.sleep(min(LOOK_SECONDS, max(0.0, seconds - at)))
    except KeyboardInterrupt:
        say("stopped early; the report says what was seen until then")
    load.stop()
    result.seconds = time.monotonic() - began
