"""How it ends: SIGTERM drains, SIGKILL of any part leaves nobody waiting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from client import Client
from tests.container.conftest import Contract, StartContainer
from tests.container.container import Clients, Container

LONG = {"max_tokens": 900, "n": 8}
MOST_SECONDS = 10

# Fills this control group with processes that are each smaller than a worker, until the kernel ends
# one of the service's own; it ends the largest.
HOG = """
import os, pathlib, signal, sys, time
for file in sys.argv[1].split(","):
    pathlib.Path(file).write_text(str(os.getpid()))
victims, hogs = [int(pid) for pid in sys.argv[2].split(",")], []
def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
while all(map(alive, victims)) and len(hogs) < 200:
    hogs.append(os.fork())
    if not hogs[-1]:
        held = os.urandom(1 << 20) * 32
        time.sleep(60)
        os._exit(0)
    time.sleep(0.02)
print(time.monotonic(), *[pid for pid in victims if not alive(pid)])
for hog in hogs:
    os.kill(hog, signal.SIGKILL)
"""


def after_a_loss(container: Container, clients: Clients, lost_at: float) -> str:
    """Everybody ends in time and is told; the next is served."""
    ends = clients.wait()
    assert any(end.error for end in ends), "all had ended before"
    last = max(0.0, max(end.at for end in ends) - lost_at)
    assert last < MOST_SECONDS
    assert all(end.finish or end.error for end in ends), "a stream ended without a word"
    with Client(container.url) as client:  # a 503 is tried again, as it says
        assert client.generate("Once upon a time", max_tokens=8).text
    served = time.monotonic() - lost_at
    return f"clients ended after {last:.1f} s, the next was served after {served:.1f} s"


def test_sigterm_finishes_what_can_be_finished(start: StartContainer, contract: Contract) -> None:
    container = start()
    container.wait_ready()
    short = Clients(container, 6, max_tokens=60)
    long = Clients(container, 2, max_tokens=900, n=8)
    began = time.monotonic()
    container.signal(signal.SIGTERM)
    status = container.wait_end()
    seconds = time.monotonic() - began
    finished = [end for end in short.wait() if end.finish == "length"]
    cut = [end for end in long.wait() if end.error or end.finish]
    contract.point(
        "SIGTERM drains and ends within 10 s",
        f"{seconds:.1f} s, status {status}; {len(finished)} of 6 short texts finished, "
        f"{len(cut)} of 2 long ones told",
    )
    assert (len(finished), len(cut), status) == (6, 2, 0)
    assert seconds < MOST_SECONDS


def test_the_worker_is_killed(start: StartContainer, contract: Contract) -> None:
    container = start()
    container.wait_ready()
    clients = Clients(container, 4, **LONG)
    container.worker.kill()
    contract.point("SIGKILL of the worker", after_a_loss(container, clients, time.monotonic()))


def test_torchserve_is_killed(start: StartContainer, contract: Contract) -> None:
    container = start()
    container.wait_ready()
    clients = Clients(container, 4, **LONG)
    container.torchserve.kill()
    contract.point("SIGKILL of TorchServe", after_a_loss(container, clients, time.monotonic()))


def test_the_gateway_is_killed(start: StartContainer, contract: Contract) -> None:
    container = start()
    container.wait_ready()
    clients = Clients(container, 4, **LONG)
    began = time.monotonic()
    psutil.Process(container.pid).kill()
    status = container.wait_end(MOST_SECONDS)
    last = max(end.at for end in clients.wait()) - began
    contract.point(
        "SIGKILL of the gateway", f"clients ended after {last:.1f} s, container with {status}"
    )
    assert status == 137 and last < MOST_SECONDS


def test_the_memory_runs_out(start: StartContainer, contract: Contract) -> None:
    container = start("--memory", "768m", "--memory-swap", "768m", MAX_RESTARTS="20")
    container.wait_ready()
    clients = Clients(container, 4, **LONG)
    family = psutil.Process(container.pid).children(recursive=True)
    victims = {container.pid: "the gateway", container.worker.pid: "the worker"}
    victims[container.torchserve.pid] = "TorchServe"
    assert {child.pid for child in family} >= set(victims) - {container.pid}
    groups = memory_groups(container.pid)
    hog = subprocess.run(
        [sys.executable, "-c", HOG, ",".join(groups), ",".join(map(str, victims))],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    when, *pids = hog.stdout.split()
    lost, lost_at = " and ".join(victims[int(pid)] for pid in pids), float(when)
    found = after_a_loss(container, clients, lost_at)
    contract.point("memory runs out", f"the kernel ended {lost}; {found}")


def memory_groups(pid: int) -> list[str]:
    """The files that put a process into the same control group of memory."""
    found = []
    for line in Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii").splitlines():
        _, kinds, path = line.split(":", 2)
        if kinds == "memory":
            found.append(f"/sys/fs/cgroup/memory{path}/cgroup.procs")
        elif not kinds and os.path.exists(f"/sys/fs/cgroup{path}/cgroup.procs"):
            found.append(f"/sys/fs/cgroup{path}/cgroup.procs")
    return found
