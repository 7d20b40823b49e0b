"""A container's limits, in both versions of control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from handler.engine.container import available_cpus, available_memory

CPUS = len(os.sched_getaffinity(0))
MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
VERSION_2 = {"cpu.max": "100000 100000", "memory.max": "2147483648"}
VERSION_1 = {
    "cpu/cpu.cfs_quota_us": "100000",
    "cpu/cpu.cfs_period_us": "100000",
    "memory/memory.limit_in_bytes": "2147483648",
}
NO_LIMIT_2 = {"cpu.max": "max 100000", "memory.max": "max"}
NO_LIMIT_1 = {
    "cpu/cpu.cfs_quota_us": "-1",
    "cpu/cpu.cfs_period_us": "100000",
    "memory/memory.limit_in_bytes": "9223372036854771712",
}


def write(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text + "\n")
    return directory


@pytest.mark.parametrize("files", [VERSION_2, VERSION_1], ids=["v2", "v1"])
def test_the_limits_of_a_container_are_kept(tmp_path: Path, files: dict[str, str]) -> None:
    group = write(tmp_path, files)
    assert (available_cpus(group), available_memory(group)) == (1, 2 << 30)


@pytest.mark.parametrize("files", [NO_LIMIT_2, NO_LIMIT_1, {}], ids=["v2", "v1", "none"])
def test_without_limits_the_machine_is_ours(tmp_path: Path, files: dict[str, str]) -> None:
    group = write(tmp_path, files)
    assert (available_cpus(group), available_memory(group)) == (CPUS, MEMORY)


def test_half_a_processor_is_one_thread(tmp_path: Path) -> None:
    assert available_cpus(write(tmp_path, {"cpu.max": "50000 100000"})) == 1
