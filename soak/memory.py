"""Memory of the service's processes over time."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass

import psutil

from soak.service import Service

LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Sample:
    """Resident memory at one time, of all processes of a role together."""

    at: float
    mib: dict[str, float]


class Memory:
    """Looks every second."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._ends = threading.Event()
        self._began = time.monotonic()
        self.samples: list[Sample] = []
        self._thread = threading.Thread(target=self._look, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._began = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._ends.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ends.wait(LOOK_SECONDS):
            found = {}
            for role, processes in self._service.family().items():
                resident = 0
                for process in processes:
                    with contextlib.suppress(psutil.Error):
                        resident += process.memory_info().rss
                found[role] = resident / 2**20
            self.samples.append(Sample(time.monotonic() - self._began, found))


def growth(samples: list[Sample], role: str) -> tuple[float, float]:
    """The median of a role's memory in the first and in the last third of its samples, in MiB."""
    values = [sample.mib[role] for sample in samples if sample.mib.get(role)]
    if not values:
        return 0.0, 0.0
    third = max(1, len(values) // 3)

    def middle(part: list[float]) -> float:
        return sorted(part)[len(part) // 2]

    return middle(values[:third]), middle(values[-third:])
