"""The memory of each process of the service: resident, and its proportional share."""

from __future__ import annotations

import contextlib
import csv
import statistics
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import psutil

from soak.service import Service


@dataclass(frozen=True)
class Footprint:
    """One process at one time; memory in MiB. `asked`: requests that had ended by then."""

    at: float
    asked: int
    role: str
    pid: int
    rss: float
    pss: float


def look(service: Service, at: float, asked: int) -> list[Footprint]:
    """Look at every process of the service."""
    found = []
    for role, processes in service.family().items():
        for process in processes:
            with contextlib.suppress(psutil.Error):
                memory = process.memory_full_info()
                rss, pss = memory.rss / 2**20, memory.pss / 2**20
                found.append(Footprint(at, asked, role, process.pid, rss, pss))
    return found


class Table:
    """The samples as a CSV file that is whole after every look, so that a killed run is kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        names = [field.name for field in fields(Footprint)]
        path.write_text(",".join(names) + "\n", encoding="utf-8")

    def add(self, footprints: Sequence[Footprint]) -> None:
        """Append samples."""
        with self._path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            for footprint in footprints:
                row = astuple(footprint)
                writer.writerow(round(x, 2) if isinstance(x, float) else x for x in row)


def processes(footprints: Sequence[Footprint]) -> dict[str, list[Footprint]]:
    """The samples of each process by a name: its role, and a number where that was taken."""
    found: dict[tuple[str, int], list[Footprint]] = {}
    for one in footprints:
        found.setdefault((one.role, one.pid), []).append(one)
    named: dict[str, list[Footprint]] = {}
    for (role, _), own in found.items():
        number = sum(name.split()[0] == role for name in named) + 1
        named[role if number == 1 else f"{role} {number}"] = own
    return named


def thirds(values: Sequence[float]) -> tuple[float, float]:
    """The medians of the first and of the last third."""
    third = max(1, len(values) // 3)
    return statistics.median(values[:third]), statistics.median(values[-third:])
