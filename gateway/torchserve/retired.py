"""Marks workers of TorchServe's that must not be restarted, in files that they read.

TorchServe starts a worker that has ended after a second, even where it was told meanwhile to have
none: that one would read the model's requests beside the worker that is wanted. So the program
that it starts (`gateway/launch/worker/`) looks for a file with its number, and ends at once.
"""

from __future__ import annotations

from pathlib import Path

from gateway.launch.launch import CRASHES

RETIRED = "retired-"


class Retired:
    """Writes the files where one TorchServe's workers look."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def look_in(self, run_folder: Path) -> None:
        """Write where the TorchServe runs that was just started."""
        self._folder = run_folder / CRASHES

    def add(self, worker: str) -> bool:
        """Have the worker with this number of TorchServe's not started again; tell if that works.

        It does not while there is no number, no TorchServe, or no room for a file.
        """
        if self._folder is None or not worker.isdigit():
            return False
        try:
            self._path(worker).touch()
        except OSError:
            return False
        return True

    def remove(self, worker: str) -> None:
        """Let it be started again."""
        self._path(worker).unlink(missing_ok=True)

    def _path(self, worker: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{RETIRED}{worker}"
