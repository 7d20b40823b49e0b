"""How it ends: SIGTERM drains, SIGKILL of any part leaves nobody waiting."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from gpt2_client import Client
from tests.container.conftest import Contract, StartContainer
from tests.container.container import Clients, Posts
from tests.container.running import Running, podman

LONG = {"max_tokens": 900, "n": 8}
MOST_SECONDS = 10
# What a full house takes to be generated once more, on a busy machine.
AGAIN_SECONDS = 60

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


class House:
    """A full one: streams and plain requests in every slot, more of both in the queue."""

    def __init__(self, container: Running) -> None:
        self.container = container
        self.streams = Clients(container, 3, **LONG)
        self.plain = Posts(container, 2, max_tokens=900, n=4)
        container.wait_figure("vllm:num_requests_running", 32)
        self.queued = Posts(container, 4, max_tokens=8)
        container.wait_figure("vllm:num_requests_waiting", 4)

    def last_end(self, lost_at: float) -> float:
        """Wait for everybody; return how long that took the last of them."""
        ends = self.streams.wait()
        for posts in (self.plain, self.queued):
            posts.wait()
        ats = [*(end.at for end in ends), *self.plain.at, *self.queued.at]
        return max(0.0, max(ats) - lost_at)


def after_a_loss(house: House, lost_at: float) -> str:
    """Nobody sees anything of it but time; the next is served."""
    last = house.last_end(lost_at)
    ends = house.streams.wait()
    assert house.container.figure("gpt2_request_replays_total") > 0, "all had ended before"
    assert [end.finish for end in ends] == ["length"] * 3, ends
    plain, queued = house.plain.wait(), house.queued.wait()
    assert plain == {200: 2} and queued == {200: 4}, (plain, queued)
    assert last < AGAIN_SECONDS
    with Client(house.container.url) as client:  # a 503 is tried again, as it says
        assert client.generate("Once upon a time", max_tokens=8).text
    served = time.monotonic() - lost_at
    return (
        f"3 of 3 streams went on, {plain[200]} of 2 plain and {queued[200]} of 4 waiting requests "
        f"were answered, the last after {last:.1f} s; the next was served after {served:.1f} s"
    )


def test_sigterm_finishes_what_can_be_finished(
    image: str, start: StartContainer, small: Path, contract: Contract
) -> None:
    # GPT-2 small's shape: the embedded model would be done with everything before the deadline.
    # As the image is, without a word about the drain.
    drain = image_setting(image, "DRAIN_SECONDS")
    container = start("--volume", f"{small}:/app/model_store:ro")
    container.wait_ready()
    long = Clients(container, 3, **LONG)
    short = Clients(container, 6, max_tokens=24)
    plain = Posts(container, 2, max_tokens=24)
    container.wait_figure("vllm:num_requests_running", 32)
    waiting = Posts(container, 4, max_tokens=900)
    container.wait_figure("vllm:num_requests_waiting", 4)
    began = time.monotonic()
    container.signal(signal.SIGTERM)
    status = container.wait_end()
    seconds = time.monotonic() - began
    finished = [end for end in short.wait() if end.finish == "length"]
    told = [end for end in long.wait() if end.error == "drained"]
    contract.point(
        "SIGTERM at full load drains and ends within 10 s",
        f"{seconds:.1f} s ({drain} of them to drain), status {status}; "
        f"{len(finished)} of 6 short streams and "
        f"{plain.wait()[200]} of 2 plain ones finished, {len(told)} of 3 long streams and "
        f"{waiting.wait()[503]} of 4 waiting ones answered with an error",
    )
    assert (len(finished), len(told), status) == (6, 3, 0)
    assert plain.wait() == {200: 2} and waiting.wait() == {503: 4}
    assert float(drain) - 1 < seconds, "the deadline was not put to the test"
    assert seconds < MOST_SECONDS


def image_setting(image: str, name: str) -> str:
    """A setting as the image has it."""
    [facts] = json.loads(podman("image", "inspect", image))
    return dict(line.split("=", 1) for line in facts["Config"]["Env"])[name]


def test_the_worker_is_killed(start: StartContainer, contract: Contract) -> None:
    container = start()
    container.wait_ready()
    house = House(container)
    container.worker.kill()
    contract.point("SIGKILL of the worker", after_a_loss(house, time.monotonic()))


def test_torchserve_is_killed(start: StartContainer, contract: Contract) -> None:
    container = start()
    container.wait_ready()
    house = House(container)
    container.torchserve.kill()
    contract.point("SIGKILL of TorchServe", after_a_loss(house, time.monotonic()))


def test_the_gateway_is_killed(start: StartContainer, contract: Contract) -> None:
    container = start()
    container.wait_ready()
    house = House(container)
    began = time.monotonic()
    psutil.Process(container.pid).kill()
    status = container.wait_end(MOST_SECONDS)
    last = house.last_end(began)
    contract.point(
        "SIGKILL of the gateway", f"all clients ended after {last:.1f} s, container with {status}"
    )
    assert status == 137 and last < MOST_SECONDS


def test_the_memory_runs_out(start: StartContainer, contract: Contract) -> None:
    container = start("--memory", "768m", "--memory-swap", "768m", MAX_RESTARTS="20")
    container.wait_ready()
    house = House(container)
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
    found = after_a_loss(house, lost_at)
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
