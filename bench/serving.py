"""The same figures through TorchServe over HTTP, and memory over many requests."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Sequence

from bench import archives, servers
from bench.checkpoints import Checkpoint
from bench.environments import SetUpError
from bench.limits import Limits
from bench.process import DriverProcess
from bench.rows import Prompts, Row
from bench.speed import Speed
from bench.systems import OURS, PARENT, TUTORIAL, Bench
from gateway.launch.launch import TorchServeError

CLIENTS = "bench.drivers.http"


def http_sections(
    bench: Bench, checkpoint: Checkpoint, limits: Limits, sections: Sequence[str]
) -> list[Row]:
    """Measure everything that needs a server, on one model."""
    speed = Speed(bench, checkpoint, limits, "http")
    if "cold" in sections:
        speed.rows += cold_starts(bench, checkpoint)
    wanted = set(sections) & {"http", "ttft", "goon", "memory"}
    if not wanted:
        return speed.rows
    with contextlib.ExitStack() as stack:
        serving: dict[str, servers.Server] = {}
        drivers: dict[str, DriverProcess] = {}

        def serve(system: str) -> None:
            try:
                serving[system] = stack.enter_context(_server(bench, system, checkpoint))
                drivers[system] = stack.enter_context(_client(system, serving[system]))
            except (SetUpError, TorchServeError, RuntimeError) as error:
                bench.leave_out(f"{system} over HTTP", error, system)

        serve(OURS)
        if OURS not in drivers:
            return speed.rows
        if bench.parent and "http" in wanted:
            serve(PARENT)
        if "http" in wanted:
            # Beside it in the same rounds: this machine's speed may change from minute to minute.
            with contextlib.ExitStack() as beside:
                engine = bench.start_all(beside, (OURS,), checkpoint).get(OURS)
                for streams in bench.plan.streams:
                    speed.decode(drivers, streams, memory=serving, engine=engine)
        only = {s: d for s, d in drivers.items() if s in (OURS, PARENT)}
        if "ttft" in wanted:
            for prompt in bench.plan.ttft_prompts:
                speed.first_token(only, prompt, serving)
        if "goon" in wanted:
            speed.go_on({OURS: drivers[OURS]}, serving)
        if "http" in wanted:
            if bench.plan.tutorial_clients:
                serve(TUTORIAL)
            pair = {s: d for s, d in drivers.items() if s in (OURS, TUTORIAL)}
            for clients in bench.plan.tutorial_clients:
                speed.whole_replies(pair, clients, serving)
        if "memory" in wanted:
            speed.rows += memory(bench, checkpoint, serving[OURS], drivers[OURS])
    return speed.rows


def _server(
    bench: Bench, system: str, checkpoint: Checkpoint
) -> contextlib.AbstractContextManager[servers.Server]:
    if system == TUTORIAL:
        return servers.tutorial(checkpoint, bench.say)
    if system == PARENT and bench.parent:
        return bench.parent.serve(bench.parent.pack(checkpoint, bench.say))
    return servers.ours(bench.pack(system, checkpoint))


def cold_starts(bench: Bench, checkpoint: Checkpoint) -> list[Row]:
    """From the start of TorchServe's process to the first token, and what it holds then."""
    systems = (OURS, PARENT) if bench.parent else (OURS,)
    found: dict[str, list[servers.Server]] = {}
    rows: dict[str, Row] = {}
    for number in range(bench.plan.cold_starts):
        bench.say(f"cold: start {number + 1} of {bench.plan.cold_starts}")
        for system in systems:
            try:
                with _server(bench, system, checkpoint) as server:
                    found.setdefault(system, []).append(server)
                    row = rows.setdefault(
                        system, Row("cold", system, checkpoint.name, "http", 1, 2, 1, True)
                    )
                    row.rss_mb, row.workers_mb = server.resident_mb(), server.worker_mb()
            except (SetUpError, TorchServeError, RuntimeError, OSError) as error:
                bench.leave_out(f"a cold start of {system}", error, system)
    for system, row in rows.items():
        row.start_seconds = statistics.median(server.start_seconds for server in found[system])
        row.runs = len(found[system])
        if system == OURS:
            row.weights_mb = _weights_mb(bench, checkpoint)
    return list(rows.values())


def _weights_mb(bench: Bench, checkpoint: Checkpoint) -> float:
    return int(str(archives.metadata(bench.pack(OURS, checkpoint))["size_bytes"])) / 2**20


def memory(
    bench: Bench, checkpoint: Checkpoint, server: servers.Server, client: DriverProcess
) -> list[Row]:
    """Resident memory of the server over many ragged requests: at rest, then ten times."""
    prompts = Prompts(checkpoint.vocabulary, seed=2)
    plan = bench.plan
    requests = plan.memory_requests
    longest, most = plan.memory_lengths[1], plan.memory_tokens[1]
    bench.say(f"memory: {requests} requests")
    weights = _weights_mb(bench, checkpoint)
    rows = []
    done = 0
    for part in range(11):
        row = Row("memory", OURS, checkpoint.name, "http", plan.slots, longest, most, True)
        row.rss_mb = server.resident_mb()
        row.note = f"after {done} requests"
        row.workers_mb = server.worker_mb()
        row.weights_mb = weights
        rows.append(row)
        target = requests * (part + 1) // 10
        while part < 10 and done < target:
            count = min(plan.slots, target - done)
            lengths = prompts.lengths(count, *plan.memory_lengths)
            tokens = prompts.lengths(count, *plan.memory_tokens)
            client.generate([prompts.one(length) for length in lengths], tokens)
            done += count
    return rows


def _client(system: str, server: servers.Server) -> DriverProcess:
    options = {"url": server.url, "streaming": system != TUTORIAL}
    name = f"{system} over http"
    return DriverProcess(name, servers.client_python(), CLIENTS, options, server.processes)
