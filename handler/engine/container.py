"""The processors and memory that this process may use, from its control group."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_cpus(cgroup: Path = CGROUP) -> int:
    """Processors this process may use: its affinity, and its control group's quota if any."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    share = _cpu_share(cgroup)
    return affinity or 1 if share is None else max(1, min(affinity or 1, round(share)))


def available_memory(cgroup: Path = CGROUP) -> int:
    """Bytes of memory this process may use: the machine's, or what its control group allows."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    allowed = _memory_limit(cgroup)
    return physical if allowed is None else min(physical, allowed)


def resident_memory() -> int:
    """Bytes of memory this process holds."""
    pages = _read(Path("/proc/self/statm"))
    return int(pages[1]) * os.sysconf("SC_PAGE_SIZE") if pages else 0


def give_back_freed_memory() -> None:
    """Return what was freed to the system, where the C library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _memory_limit(cgroup: Path) -> int | None:
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # versions 2 and 1
        words = _read(cgroup / name)
        # Version 1 says a number beyond any machine's where there is no limit.
        if words and words[0].isdecimal() and int(words[0]) < 1 << 60:
            return int(words[0])
    return None


def _cpu_share(cgroup: Path) -> float | None:
    words = _read(cgroup / "cpu.max")
    if not words:
        words = _read(cgroup / "cpu/cpu.cfs_quota_us") + _read(cgroup / "cpu/cpu.cfs_period_us")
    if len(words) == 2 and all(word.isdecimal() for word in words):  # else "max" or -1: no limit
        return int(words[0]) / int(words[1])
    return None


def _read(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:  # another version of control groups, or none
        return []
