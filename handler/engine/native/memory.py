"""Memory that the C code reads: weights on large pages, keys and values that can be given back."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]

HUGE_PAGE = 2 << 20
ALIGNMENT = 64  # a vector of sixteen floats


def _anonymous(size: int) -> mmap.mmap:
    return mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def _from_border(memory: mmap.mmap, border: int) -> npt.NDArray[np.uint8]:
    whole = np.frombuffer(memory, np.uint8)
    return whole[-whole.ctypes.data % border :]


class Arena:
    """One block of memory for all arrays of a model: every step reads all of it.

    On pages of 2 MB, where the kernel gives these: 4 KB ones cost a look into the page tables for
    every 64 cache lines.
    """

    def __init__(self, size: int) -> None:
        memory = _anonymous(size + HUGE_PAGE)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        self._room = _from_border(memory, HUGE_PAGE)
        self._used = 0

    @staticmethod
    def aligned(size: int) -> int:
        """Bytes that `size` bytes take in an arena."""
        return -(-size // ALIGNMENT) * ALIGNMENT

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """Return room for `size` bytes."""
        start = self._used
        self._used += self.aligned(size)
        return self._room[start : start + size]


def mapped(path: Path) -> npt.NDArray[np.uint8]:
    """A file's bytes, not to be changed: of what is never looked at nothing is in memory.

    Raises:
        OSError: Its file system cannot do that.
    """
    with path.open("rb") as file:
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)


class CacheMemory:
    """Memory of `slots` slots; it costs what was written, and can be given back in part."""

    def __init__(self, slots: int, slot_bytes: int) -> None:
        self.slot_bytes = slot_bytes
        self._memory = _anonymous(slots * slot_bytes)
        # A map begins at a page, which is a vector's border too.
        self.address = np.frombuffer(self._memory, np.uint8).ctypes.data

    def release(self, slot: int, start: int, end: int) -> None:
        """Give bytes start .. end of a slot back to the system, whole pages only; they become 0."""
        page = mmap.PAGESIZE
        first = -(-(slot * self.slot_bytes + start) // page) * page
        last = (slot * self.slot_bytes + end) // page * page
        if last > first:
            self._memory.madvise(mmap.MADV_DONTNEED, first, last - first)
