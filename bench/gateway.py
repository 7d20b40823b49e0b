"""The cost of the gateway: the same TorchServe through it and directly, in pairs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import psutil

from bench.checkpoints import CACHE, ROOT
from bench.plan import Plan
from bench.process import resident_mb
from bench.servers import READY_SECONDS
from bench.stream import Connection, Way
from gateway.launch.ports import free_ports
from gateway.settings import Settings

IDLE_SECONDS = 2.0  # what starting leaves behind is done by then


@dataclass(frozen=True)
class GatewayFigures:
    """Medians; the ratio is that of the pairs, gateway over direct, each a run of all streams."""

    model: str
    streams: int
    new_tokens: int
    pairs: int
    ready_seconds: float
    idle_rss_mb: float
    tokens_per_second: float
    direct_tokens_per_second: float
    ratio: float
    ratio_least: float
    ratio_most: float
    cpu_us_per_chunk: float
    ttft_ms: float
    direct_ttft_ms: float

    @property
    def added_ttft_ms(self) -> float:
        """What the gateway adds to the time to first token."""
        return self.ttft_ms - self.direct_ttft_ms


@dataclass(frozen=True)
class RunningGateway:
    """A gateway that is ready, and both ways to its TorchServe."""

    through: Way
    direct: Way
    process: psutil.Process
    ready_seconds: float

    def cpu_seconds(self) -> float:
        """CPU time of the gateway's process alone, so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@dataclass(frozen=True)
class _Pair:
    rate: float
    direct_rate: float
    cpu_seconds: float
    chunks: int


def measure(model_store: Path, model: str, plan: Plan) -> GatewayFigures:
    """Measure the gateway in front of this archive.

    Raises:
        RuntimeError: It did not start, or a request failed.
    """
    with running(model_store) as gateway:
        time.sleep(IDLE_SECONDS)
        idle = resident_mb(gateway.process.pid)
        pairs, firsts = asyncio.run(_ask(gateway, plan))
    ratios = [pair.rate / pair.direct_rate for pair in pairs]
    # Summed over all runs: a process's CPU time comes in ticks of 10 ms.
    cpu = sum(pair.cpu_seconds for pair in pairs) / sum(pair.chunks for pair in pairs)
    return GatewayFigures(
        model=model,
        streams=plan.slots,
        new_tokens=plan.gateway_tokens,
        pairs=len(pairs),
        ready_seconds=gateway.ready_seconds,
        idle_rss_mb=idle,
        tokens_per_second=statistics.median(pair.rate for pair in pairs),
        direct_tokens_per_second=statistics.median(pair.direct_rate for pair in pairs),
        ratio=statistics.median(ratios),
        ratio_least=min(ratios),
        ratio_most=max(ratios),
        cpu_us_per_chunk=1e6 * cpu,
        ttft_ms=1000 * statistics.median(firsts[gateway.through]),
        direct_ttft_ms=1000 * statistics.median(firsts[gateway.direct]),
    )


@contextlib.contextmanager
def running(model_store: Path) -> Iterator[RunningGateway]:
    """Run `python -m gateway` with its defaults, whatever the environment and .env say.

    Raises:
        RuntimeError: It did not start.
    """
    (inference,) = free_ports(1)
    # An empty value is the default. Requests are not counted, and the first failure is the last.
    settings = {spec.name.upper(): "" for spec in fields(Settings)} | {
        "PORT": "0",
        "BIND": "127.0.0.1",
        "MODEL_STORE": str(model_store),
        "INFERENCE_PORT": str(inference),
        "REQUESTS_PER_MINUTE": "0",
        "START_SECONDS": str(READY_SECONDS),
        "MAX_RESTARTS": "0",
        "LOG_FORMAT": "json",
    }
    CACHE.mkdir(parents=True, exist_ok=True)
    log = CACHE / "gateway.log"
    began = time.perf_counter()
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway"],
            cwd=ROOT,
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    with process:
        try:
            assert process.stdout is not None
            # Comes once a token was generated; nothing comes when the process ends before.
            ready = re.search(r"http://\S+:(\d+)", process.stdout.readline())
            if ready is None:
                lines = log.read_text(errors="replace").splitlines()
                raise RuntimeError("the gateway did not start: " + " | ".join(lines[-2:]))
            yield RunningGateway(
                through=Way(int(ready[1]), "/v1/completions"),
                direct=Way(inference, "/predictions/gpt2/1.0/v1/completions"),
                process=psutil.Process(process.pid),
                ready_seconds=time.perf_counter() - began,
            )
        finally:
            process.terminate()


async def _ask(gateway: RunningGateway, plan: Plan) -> tuple[list[_Pair], dict[Way, list[float]]]:
    ways = (gateway.through, gateway.direct)
    for way in ways:  # warm up
        await _run(way, plan.slots, plan.gateway_tokens)
    pairs = []
    for number in range(plan.gateway_pairs):
        rates: dict[Way, float] = {}
        cpu, chunks = 0.0, 0
        for way in _turn(ways, number):
            before = gateway.cpu_seconds()
            rates[way], count = await _run(way, plan.slots, plan.gateway_tokens)
            if way is gateway.through:
                cpu, chunks = gateway.cpu_seconds() - before, count
        pairs.append(_Pair(rates[gateway.through], rates[gateway.direct], cpu, chunks))
    return pairs, await _first_tokens(ways, plan.gateway_first_tokens)


async def _run(way: Way, streams: int, tokens: int) -> tuple[float, int]:
    """Generate so many completions at once; return tokens per second with prefill, and chunks."""
    connections = [await Connection.open(way) for _ in range(streams)]
    try:
        began = time.perf_counter()
        completions = await asyncio.gather(
            *(each.complete(_fields(tokens)) for each in connections)
        )
        seconds = time.perf_counter() - began
    finally:
        for each in connections:
            each.close()
    return streams * tokens / seconds, sum(map(len, completions))


async def _first_tokens(ways: tuple[Way, Way], runs: int) -> dict[Way, list[float]]:
    """Seconds to the first chunk of single requests, over a kept connection each way."""
    connections = {way: await Connection.open(way) for way in ways}
    found: dict[Way, list[float]] = {way: [] for way in ways}
    try:
        for number in range(runs):
            for way in _turn(ways, number):
                began = time.perf_counter()
                moments = await connections[way].complete(_fields(2))
                found[way].append(moments[0] - began)
    finally:
        for each in connections.values():
            each.close()
    return found


def _fields(tokens: int) -> dict[str, object]:
    return {
        "prompt": "Once upon a time",
        "max_tokens": tokens,
        "ignore_eos": True,
    }


def _turn(ways: tuple[Way, Way], number: int) -> tuple[Way, Way]:
    """Who goes first changes from pair to pair."""
    return ways if number % 2 else (ways[1], ways[0])
