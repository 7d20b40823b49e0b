"""Decode, time to first token, "go on", churn, and how all of it grows."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.checkpoints import Checkpoint
from bench.interleave import interleaved
from bench.limits import Limits
from bench.process import DriverProcess
from bench.rows import Prompts, Row
from bench.systems import (
    LLAMA_CPP,
    OPENVINO_INT8,
    OURS,
    PARENT,
    Bench,
)

ENGINE_BESIDE = "the engine itself"


class Speed:
    """Measures one model on the drivers that run. Rows collect in `rows`."""

    def __init__(self, bench: Bench, checkpoint: Checkpoint, limits: Limits, path: str) -> None:
        self._bench = bench
        self._plan = bench.plan
        self._checkpoint = checkpoint
        self._limits = limits
        self._path = path
        self._prompts = Prompts(checkpoint.vocabulary)
        self.rows: list[Row] = []

    def decode(
        self,
        drivers: Mapping[str, DriverProcess],
        streams: int,
        *,
        section: str = "decode",
        prompt: int | None = None,
        new_tokens: int | None = None,
        memory: Mapping[str, Any] | None = None,
        engine: DriverProcess | None = None,
        rounds: int | None = None,
    ) -> None:
        """Tokens per second with and without prefill: B (n - 1) / (t(n) - t(1)), and B n / t(n).

        `engine` is asked in turn with the others and has no row: ours gets its share of it.
        """
        prompt = self._plan.prompt if prompt is None else prompt
        count = min(new_tokens or self._plan.new_tokens, self._checkpoint.context - prompt - 1)
        self._bench.say(f"{section}: {self._path}, {streams} streams, prompt {prompt}, {count} new")

        def work(driver: DriverProcess) -> tuple[dict[str, Any], dict[str, Any]]:
            return self._run(driver, streams, prompt, 1), self._run(driver, streams, prompt, count)

        def warm_up(driver: DriverProcess) -> object:
            return self._run(driver, streams, prompt, 2)

        asked = {**drivers, ENGINE_BESIDE: engine} if engine else drivers
        found = interleaved(asked, rounds or self._plan.rounds, work, self._failed, warm_up)
        rates = {
            system: [
                streams * (count - 1) / max(long["seconds"] - one["seconds"], 1e-9)
                for one, long in runs
            ]
            for system, runs in found.items()
        }
        found.pop(ENGINE_BESIDE, None)
        for system, runs in found.items():
            process = (memory or drivers)[system]
            weight = process.resident_mb()
            decode = self._row(section, system, streams, prompt, count, False)
            decode.rate(rates[system])
            if ENGINE_BESIDE in rates and system == OURS:
                pairs = zip(rates[system], rates[ENGINE_BESIDE], strict=True)
                decode.share_of_engine = statistics.median(rate / own for rate, own in pairs)
            decode.steady_tokens_per_second = _steady([long for _, long in runs])
            limit = self._limits.tokens_per_second(system, self._checkpoint, streams)
            decode.share_of_limit = (decode.tokens_per_second or 0.0) / limit
            decode.start_seconds = process.start_seconds
            whole = self._row(section, system, streams, prompt, count, True)
            whole.rate([long["tokens"] / long["seconds"] for _, long in runs])
            least = self._least_seconds(system, streams, prompt)
            least += streams * (count - 1) / limit
            whole.share_of_limit = least * (whole.tokens_per_second or 0.0) / (streams * count)
            for row in (decode, whole):
                row.first_tokens([moment for _, long in runs for moment in long["first"]])
                row.rss_mb = weight
                self.rows.append(row)

    def whole_replies(
        self, drivers: Mapping[str, DriverProcess], clients: int, memory: Mapping[str, Any]
    ) -> None:
        """Tokens per second, prefill counted, for systems that cannot stream."""
        prompt, count = self._plan.prompt, self._plan.tutorial_tokens
        self._bench.say(f"http: {clients} clients, whole replies of {count} tokens")
        rounds = max(1, self._plan.rounds // 2)
        found = interleaved(
            drivers,
            rounds,
            lambda driver: self._run(driver, clients, prompt, count),
            self._failed,
            lambda driver: self._run(driver, 1, prompt, 2),
        )
        for system, runs in found.items():
            row = self._row("tutorial", system, clients, prompt, count, True)
            row.rate([run["tokens"] / run["seconds"] for run in runs])
            # Of a reply that comes whole, the first token comes with the last.
            row.first_tokens([moment for run in runs for moment in run["first"]])
            row.rss_mb = memory[system].resident_mb()
            self.rows.append(row)

    def first_token(
        self,
        drivers: Mapping[str, DriverProcess],
        prompt: int,
        memory: Mapping[str, Any] | None = None,
    ) -> None:
        """Time to first token of one request, nobody else there."""
        prompt = min(prompt, self._checkpoint.context - 2)
        self._bench.say(f"ttft: {self._path}, prompt {prompt}")
        found = interleaved(
            drivers,
            self._plan.ttft_runs,
            lambda driver: self._run(driver, 1, prompt, 1)["first"][0],
            self._failed,
            lambda driver: self._run(driver, 1, prompt, 1),
        )
        for system, seconds in found.items():
            row = self._row("ttft", system, 1, prompt, 1, True)
            row.first_tokens(seconds)
            row.share_of_limit = _share(self._least_seconds(system, 1, prompt), row)
            row.rss_mb = (memory or drivers)[system].resident_mb()
            self.rows.append(row)

    def go_on(
        self, drivers: Mapping[str, DriverProcess], memory: Mapping[str, Any] | None = None
    ) -> None:
        """Time to first token where all but the newest 20 tokens of the prompt are known.

        Those 20 stand for the text that was decoded last: the engine reads it again.
        """
        known = min(self._plan.known_tokens, self._checkpoint.context - 32)
        self._bench.say(f"goon: {self._path}, {known} known tokens")

        def work(driver: DriverProcess) -> tuple[float, float]:
            prompt = self._prompts.one(known + 20)
            cold = driver.generate([prompt], [1])["first"][0]
            warm = driver.generate([prompt[:known] + self._prompts.one(20)], [1])["first"][0]
            return float(cold), float(warm)

        found = interleaved(drivers, self._plan.ttft_runs, work, self._failed, work)
        for system, pairs in found.items():
            for note, seconds in (
                ("cold", [p[0] for p in pairs]),
                ("go on", [p[1] for p in pairs]),
            ):
                row = self._row("goon", system, 1, known + 20, 1, True)
                row.first_tokens(seconds)
                row.note = note
                row.rss_mb = (memory or drivers)[system].resident_mb()
                self.rows.append(row)

    def churn(self, drivers: Mapping[str, DriverProcess]) -> None:
        """Ragged requests, twice as many as slots, all handed over at once."""
        plan = self._plan
        least, most = plan.churn_lengths
        self._bench.say(f"churn: {plan.churn_requests} ragged requests over {plan.slots} slots")

        def work(driver: DriverProcess) -> dict[str, Any]:
            # The same lengths for everyone and every round; the tokens are fresh.
            lengths = Prompts(self._checkpoint.vocabulary, seed=1)
            prompts = lengths.lengths(plan.churn_requests, least, most)
            counts = lengths.lengths(plan.churn_requests, least, most)
            return driver.generate([self._prompts.one(n) for n in prompts], counts)

        found = interleaved(
            drivers,
            plan.churn_rounds,
            work,
            self._failed,
            lambda driver: self._run(driver, plan.slots, least, 2),
        )
        for system, runs in found.items():
            row = self._row("churn", system, plan.churn_requests, most, most, True)
            row.rate([run["tokens"] / run["seconds"] for run in runs])
            row.first_tokens([moment for run in runs for moment in run["first"]])
            row.rss_mb = drivers[system].resident_mb()
            row.note = f"{least} to {most} tokens each, prompt and text"
            self.rows.append(row)

    def _least_seconds(self, system: str, streams: int, prompt: int) -> float:
        return self._limits.first_token_seconds(system, self._checkpoint, streams, prompt)

    def _run(self, driver: DriverProcess, streams: int, prompt: int, count: int) -> dict[str, Any]:
        return driver.generate(self._prompts.many(streams, prompt), [count] * streams)

    def _row(
        self, section: str, system: str, streams: int, prompt: int, count: int, prefill: bool
    ) -> Row:
        model = self._checkpoint.name
        return Row(section, system, model, self._path, streams, prompt, count, prefill)

    def _failed(self, system: str, error: Exception) -> None:
        self._bench.leave_out(system, error, system)


def _share(least_seconds: float, row: Row) -> float | None:
    return 1000 * least_seconds / row.ttft_ms_p50 if row.ttft_ms_p50 else None


def _steady(runs: Sequence[Mapping[str, Any]]) -> float | None:
    """Rate while every stream was writing: from the last first token to the first end."""
    seconds = sum(run["steady_seconds"] for run in runs)
    tokens = sum(run["steady_tokens"] for run in runs)
    return tokens / seconds if seconds > 0 else None


@contextlib.contextmanager
def one_core_taken() -> Iterator[None]:
    """A process beside us that never rests, on one core."""
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def engine_sections(
    bench: Bench, checkpoint: Checkpoint, limits: Limits, sections: Sequence[str]
) -> list[Row]:
    """Measure everything that needs no server, on one model."""
    speed = Speed(bench, checkpoint, limits, "engine")
    plan = bench.plan
    wanted = set(sections) & {"decode", "ttft", "goon", "churn", "prompt", "busy"}
    if wanted:
        with contextlib.ExitStack() as stack:
            drivers = bench.start_all(stack, bench.engines, checkpoint)
            if "decode" in wanted:
                for streams in plan.streams:
                    speed.decode(drivers, streams)
            if "ttft" in wanted:
                for prompt in plan.ttft_prompts:
                    speed.first_token(drivers, prompt)
            if "goon" in wanted:
                speed.go_on({s: d for s, d in drivers.items() if s == OURS})
            if "churn" in wanted:
                own = (OURS, OPENVINO_INT8, PARENT)
                speed.churn({s: d for s, d in drivers.items() if s in own})
            if "busy" in wanted:
                pair = {s: d for s, d in drivers.items() if s in (OURS, PARENT)}
                with one_core_taken():
                    for streams in plan.streams:
                        speed.decode(
                            pair,
                            streams,
                            section="busy",
                            new_tokens=plan.busy_tokens,
                            rounds=plan.busy_rounds,
                        )
            if "prompt" in wanted:
                peers = (OURS, LLAMA_CPP, OPENVINO_INT8)
                some = {s: d for s, d in drivers.items() if s in peers}
                for prompt in (p for p in plan.prompts if p + 17 < checkpoint.context):
                    speed.decode(some, 8, section="prompt", prompt=prompt, new_tokens=32)
    if "batch" in sections:
        with contextlib.ExitStack() as stack:
            most = max(plan.batches)
            settings: dict[str, object] = {"slots": most, "cache_memory_mib": 8192}
            driver = stack.enter_context(bench.start(OURS, checkpoint, settings))
            drivers = {OURS: driver}
            drivers |= bench.start_all(stack, (LLAMA_CPP,), checkpoint)
            for streams in plan.batches:
                speed.decode(drivers, streams, section="batch", new_tokens=64)
    return speed.rows
