"""From `podman run` to the first token, ten times, and where the time goes."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.container.conftest import SMALL_SECONDS, Contract, StartContainer
from tests.container.container import Container, mapped_files, since_boot

RUNS = int(os.environ.get("COLD_STARTS", "10"))
MOST_SECONDS = 6.0
CLASS_DATA = "/app/class-data/torchserve.jsa"
STOCK_RUNS = 3

# The worker's part by itself, in its own words: what it imports, what it loads.
WORKER = """
import runpy, sys, time
from pathlib import Path
sys.path.insert(0, "/app/model_store/gpt2")
program = runpy.run_path("/app/gateway/launch/worker/model_service_worker.py")
marks = [time.perf_counter()]
program["import_protocol_without_torch"]()
import ts.model_service_worker
import yaml
from handler.service import Service
import handler.engine.native_model
marks.append(time.perf_counter())
config = yaml.safe_load(Path("/app/model_store/gpt2/model-config.yaml").read_text())
Service.load(Path("/app/model_store/gpt2"), name="gpt2", version="1", config=config, max_tokens=20)
marks.append(time.perf_counter())
print(marks[1] - marks[0], marks[2] - marks[1])
"""

# The bench's server of the tutorials' handler: from its start until its first reply.
NOT_SET_UP = 3
STOCK = f"""
import json, sys, time, urllib.request
from bench import servers
from bench.checkpoints import random_gpt2
from bench.environments import TRANSFORMERS, SetUpError
try:
    TRANSFORMERS.ensure(print)
except SetUpError as error:
    print(str(error))
    sys.exit({NOT_SET_UP})
checkpoint = random_gpt2()
began = time.monotonic()
with servers.tutorial(checkpoint, print) as server:
    body = json.dumps({{"input_ids": [1, 2, 3], "max_new_tokens": 1}}).encode()
    request = urllib.request.Request(server.url, body, {{"content-type": "application/json"}})
    with urllib.request.urlopen(request, timeout=120) as reply:
        assert json.load(reply)["ids"][:3] == [1, 2, 3]
    seconds = time.monotonic() - began
print(seconds)
"""


def cold_start(container: Container) -> dict[str, float]:
    """Wait for the first token; return seconds of each part."""
    container.wait_ready()
    ready = since_boot()
    next(iter(container.stream(max_tokens=2)))
    first = since_boot()
    gateway = began(container.pid)
    java, worker = began(container.torchserve.pid), began(container.worker.pid)
    taken, linked = archive_taken(container)
    return {
        "container": gateway - container.began,
        "gateway": java - gateway,
        "JVM": taken - java,
        "link": linked - taken,
        "archive": worker - taken,
        "worker": ready - worker,
        "first token": first - ready,
        "all": first - container.began,
    }


def archive_taken(container: Container) -> tuple[float, float]:
    """When TorchServe took the archive, and when it had it in its place.

    In `models/` of its temporary directory it makes a directory of its own for the archive, and in
    that a link to ours (a `.mar` it would unzip there). Neither is touched again.
    """
    [link] = container.path("/tmp").glob("gpt2-torchserve-*/models/*/*")
    assert link.name == "gpt2" and link.is_symlink(), "the archive was not linked but copied"
    woke = time.time() - since_boot()
    return link.parent.parent.stat().st_mtime - woke, link.lstat().st_mtime - woke


def began(pid: int) -> float:
    """When a process was started, in seconds since the machine was."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


@pytest.mark.timeout(SMALL_SECONDS)
@pytest.mark.parametrize("model", ["embedded", "small"])
def test_a_cold_start_is_quick(
    model: str, start: StartContainer, contract: Contract, request: pytest.FixtureRequest
) -> None:
    mount: tuple[str, ...] = ()
    if model == "small":
        mount = ("--volume", f"{request.getfixturevalue('small')}:/app/model_store:ro")
    runs, alone = [], []
    for _ in range(RUNS):
        container = start(*mount)
        runs.append(cold_start(container))
        # What it is to be quick by, it has: shared classes.
        assert CLASS_DATA in mapped_files(container.torchserve.pid)
        inside = container.execute("python", "-c", WORKER)
        assert inside.returncode == 0, inside.stderr
        alone.append([float(word) for word in inside.stdout.split()])
        container.remove()
    median = {part: statistics.median(run[part] for run in runs) for part in runs[0]}
    totals = sorted(run["all"] for run in runs)
    imports, load = (statistics.median(column) for column in zip(*alone, strict=True))
    notes = {
        "archive": f" (of that, linked in {median['link']:.3f})",
        "worker": f" (of that, by themselves, Python's imports {imports:.2f}, model {load:.2f})",
    }
    parts = ", ".join(
        f"{part} {seconds:.2f}{notes.get(part, '')}"
        for part, seconds in median.items()
        if part not in ("link", "all")
    )
    name = "the embedded model" if model == "embedded" else "GPT-2 small's shape in int8"
    contract.point(
        f"cold start of {name} (at most {MOST_SECONDS:g} s)",
        f"median {median['all']:.2f} s ({totals[0]:.2f} to {totals[-1]:.2f}, {RUNS} runs): {parts}",
    )
    assert median["all"] <= MOST_SECONDS


def stock_start() -> float:
    """Seconds from TorchServe's stock start to the first reply of the tutorials' handler."""
    done = subprocess.run(
        [sys.executable, "-c", STOCK], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode == NOT_SET_UP:
        pytest.skip(
            f"the tutorials' handler could not be installed: {done.stdout.splitlines()[-1]}"
        )
    assert done.returncode == 0, done.stderr
    return float(done.stdout.splitlines()[-1])


@pytest.mark.timeout(1800)  # the handler's environment is installed the first time: transformers
def test_it_is_twice_as_quick_as_the_stock_start(
    start: StartContainer, small: Path, contract: Contract
) -> None:
    stock_start()  # installs, packs, and reads every file once
    ours, stock = [], []
    for _ in range(STOCK_RUNS):  # by turns: what else the machine does hits both
        stock.append(stock_start())
        container = start("--volume", f"{small}:/app/model_store:ro")
        ours.append(cold_start(container)["all"])
        container.remove()
    ratio = statistics.median(stock) / statistics.median(ours)
    contract.point(
        "at least 2 times quicker than TorchServe's stock start with the tutorials' handler",
        f"{ratio:.1f} times: {statistics.median(ours):.2f} s in a container, "
        f"{statistics.median(stock):.2f} s without one (GPT-2 small's shape, {STOCK_RUNS} runs)",
    )
    assert ratio >= 2
