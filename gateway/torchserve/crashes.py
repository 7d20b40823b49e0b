"""Finds workers that crashed (SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE).

Java is their parent, so nobody here can ask the kernel how they ended. A worker that crashes writes
a last report into a file of its own (`gateway/launch/worker/`, Python's faulthandler); one that is
killed, or ends because Java did, writes none.
"""

from __future__ import annotations

import logging
from pathlib import Path

from gateway.launch.launch import CRASHES

logger = logging.getLogger("gateway.torchserve")

# How much of a report is logged.
LONGEST_REPORT = 4000


class Crashes:
    """Reads the reports of one TorchServe's workers."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._logged: set[int] = set()

    def look_in(self, run_folder: Path) -> None:
        """Look where the TorchServe runs that was just started."""
        self._folder = run_folder / CRASHES
        self._logged.clear()

    def has(self, worker: int) -> bool:
        """Whether the worker with this process id crashed."""
        return worker in self._logged or bool(worker and self._read(str(worker)))

    def take_new(self) -> list[tuple[int, str]]:
        """Log what was not logged yet; return each worker and its report's first line."""
        if self._folder is None:
            return []
        try:
            names = [path.name for path in self._folder.iterdir() if path.name.isdigit()]
        except OSError:  # it is being removed
            return []
        lines = []
        for name in names:
            report = self._read(name) if int(name) not in self._logged else ""
            if report:
                self._logged.add(int(name))
                logger.warning("worker %s crashed: %s", name, report[:LONGEST_REPORT])
                lines.append((int(name), report.splitlines()[0]))
        return lines

    def _read(self, name: str) -> str:
        if self._folder is None:
            return ""
        try:
            return (self._folder / name).read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""
