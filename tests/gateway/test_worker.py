"""How a worker of TorchServe begins: with memory of its own kind, and as it was called."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.launch import HUGE_PAGES, WORKER_SITE
from tests.gateway.conftest import Service

PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def huge_kb(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (line,) = (line for line in rollup if line.startswith("AnonHugePages:"))
    return int(line.split()[1])


def test_weights_are_on_huge_pages_and_java_is_left_alone(service: Service) -> None:
    worker = service.workers()[0]
    java = worker.parent()
    assert java is not None
    # glibc cuts what it has read at the colons.
    assert worker.environ()["GLIBC_TUNABLES"] == HUGE_PAGES.partition(":")[0]
    assert "GLIBC_TUNABLES" not in java.environ()
    if PAGES.exists() and "[never]" not in PAGES.read_text():
        assert huge_kb(worker.pid) > huge_kb(java.pid)


@pytest.mark.parametrize(
    ("given", "found"),
    [({}, "a=1"), ({"GLIBC_TUNABLES": "b=2"}, "b=2")],
    ids=["ours", "somebody's own"],
)
def test_a_worker_begins_again_with_its_arguments(given: dict[str, str], found: str) -> None:
    code = "import os, sys; print(os.environ['GLIBC_TUNABLES'], sys.argv[1:], sys.flags.utf8_mode)"
    command = [sys.executable, "-X", "utf8", "-c", code, "--sock-type", "a b"]
    environment = {"PYTHONPATH": str(WORKER_SITE), "WORKER_GLIBC_TUNABLES": "a=1"} | given
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{found} ['--sock-type', 'a b'] 1"
