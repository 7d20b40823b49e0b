"""Private folders that are ours for as long as we live, and the end of those whose owner died.

A mark in each is locked by its owner's process. The kernel lets go of the lock with the process,
however it ends, so what no one holds any more is dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "gpt2-torchserve-"
MARK = "owner.lock"
# So often another process that is starting may take a new folder for a dead one.
TRIES = 10


class Folder:
    """A new folder (0700) in `parent`.

    Raises:
        OSError: None can be made there.
    """

    def __init__(self, parent: Path) -> None:
        for _ in range(TRIES):
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
            with contextlib.suppress(FileNotFoundError, BlockingIOError):
                self._lock = self._take()
                return
        raise OSError(f"{parent}: others clear away what is made here")

    def remove(self) -> None:
        """Delete it and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take(self) -> int | None:
        """Lock its mark; None on a file system without locks, where nobody ever clears it."""
        mark = self.path / MARK
        lock = os.open(mark, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mark.stat()  # or it was cleared just before
        except (BlockingIOError, FileNotFoundError):
            os.close(lock)
            raise
        except OSError:
            os.close(lock)
            mark.unlink()
            return None
        return lock


def clear_dead(parent: Path) -> None:
    """Delete this user's folders in `parent` whose owner is gone."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(parent)):
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    _clear_if_dead(Path(entry.path))


def _clear_if_dead(folder: Path) -> None:
    if folder.lstat().st_uid != os.getuid():
        return
    lock = os.open(folder / MARK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
