"""The ratios and costs that this project aims for, compared with what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.gateway import GatewayFigures
from bench.rows import Row
from bench.systems import (
    LLAMA_CPP,
    LLAMA_CPP_Q4,
    OPENVINO_INT8,
    OURS,
    OURS_INT4,
    PARENT,
    TRANSFORMERS_GENERATE,
    TUTORIAL,
)

# streams -> (floor, aim), over each peer's decode without prefill.
DECODE = {
    LLAMA_CPP: {1: (1.3, 1.5), 8: (3.3, 4.2), 32: (2.9, 3.6)},
    OPENVINO_INT8: {1: (1.6, 1.9), 8: (1.6, 2.0), 32: (1.6, 2.0)},
    PARENT: {1: (1.5, 1.7), 8: (1.6, 2.0), 32: (1.4, 1.8)},
    TRANSFORMERS_GENERATE: {1: (7.0, 10.0), 8: (5.5, 8.0), 32: (3.3, 4.5)},
}
# One text is bound by memory: half the bytes are to give what int8's kernels cannot.
INT4_OVER = {
    OURS: {1: (1.3, 1.7)},
    LLAMA_CPP: {1: (2.0, 2.5)},
    LLAMA_CPP_Q4: {1: (1.3, 1.5)},
}
HTTP_SHARE = {1: (0.75, 0.90), 8: (0.80, 0.90), 32: (0.80, 0.90)}
HTTP_OVER_PARENT = {1: (1.4, 1.7), 8: (1.5, 1.9), 32: (1.3, 1.7)}
# There is no floor for these; beside the same, it should be no slower.
BUSY_OVER_PARENT = (1.0, 1.0)
TUTORIAL_RATIO = {1: (4.0, 7.0), 32: (10.0, 20.0)}
# prompt -> (floor, aim), over llama.cpp's time
FIRST_TOKEN = {64: (0.35, 0.25), 512: (0.35, 0.28)}
GO_ON = (0.25, 0.1)
CHURN = (1.5, 2.0)
READ_SHARE = (0.74, 0.84)
COLD_START = (0.9, 0.9)
# MB: growth from a tenth of the requests to the last, of the worker and of the whole server (the
# allocators make noise, Java's most of all), and what an idle worker holds beyond its weights.
WORKER_GROWTH_MB = (6.0, 3.0)
MEMORY_GROWTH_MB = (20.0, 10.0)
IDLE_BEYOND_WEIGHTS_MB = (30.0, 30.0)

# The gateway's (floor, aim), the same twice where there is no further aim.
GATEWAY_RATE = (0.93, 1.0)
GATEWAY_CPU_US = (80.0, 30.0)
GATEWAY_FIRST_TOKEN_MS = (3.0, 3.0)
GATEWAY_IDLE_MB = (80.0, 80.0)


@dataclass(frozen=True)
class Ratio:
    """A figure of this project over another one, or a cost (`less_is_better`, as for times)."""

    name: str
    value: float
    floor: float
    aim: float
    less_is_better: bool = False

    @property
    def verdict(self) -> str:
        """Where the value stands: "aim", "floor" or "missed"."""
        sign = -1 if self.less_is_better else 1
        if sign * self.value >= sign * self.aim:
            return "aim"
        return "floor" if sign * self.value >= sign * self.floor else "missed"


class Ratios:
    """Looks rows up; a ratio whose rows are not there is left out."""

    def __init__(self, rows: Sequence[Row], model: str) -> None:
        self._rows = [row for row in rows if row.model == model]
        self.found: list[Ratio] = []
        for peer, at in DECODE.items():
            for streams, bounds in at.items():
                self._rate(
                    f"decode, {streams} streams, over {peer}",
                    self._where("decode", OURS, "engine", streams, False),
                    self._where("decode", peer, "engine", streams, False),
                    bounds,
                )
        for peer, at in INT4_OVER.items():
            for streams, bounds in at.items():
                self._rate(
                    f"int4: decode, {streams} stream, over {peer}",
                    self._where("decode", OURS_INT4, "engine", streams, False),
                    self._where("decode", peer, "engine", streams, False),
                    bounds,
                )
        for streams, bounds in HTTP_SHARE.items():
            served = self._where("decode", OURS, "http", streams, False)
            if served and served.share_of_engine:
                name = f"decode over HTTP, {streams} streams, share of the engine's"
                self.found.append(Ratio(name, served.share_of_engine, *bounds))
        self._over_parent()
        for clients, bounds in TUTORIAL_RATIO.items():
            self._rate(
                f"over HTTP, {clients} clients, prefill counted, over {TUTORIAL}",
                self._where("tutorial", OURS, "http", clients, True),
                self._where("tutorial", TUTORIAL, "http", clients, True),
                bounds,
            )
        self._times()
        self._rate(
            f"churn over {OPENVINO_INT8}",
            self._one(lambda row: row.section == "churn" and row.system == OURS),
            self._one(lambda row: row.section == "churn" and row.system == OPENVINO_INT8),
            CHURN,
        )
        self._single()

    def _over_parent(self) -> None:
        for streams, bounds in HTTP_OVER_PARENT.items():
            self._rate(
                f"decode over HTTP, {streams} streams, over {PARENT}",
                self._where("decode", OURS, "http", streams, False),
                self._where("decode", PARENT, "http", streams, False),
                bounds,
            )
        for streams in DECODE[PARENT]:
            self._rate(
                f"decode beside a busy core, {streams} streams, over {PARENT}",
                self._where("busy", OURS, "engine", streams, False),
                self._where("busy", PARENT, "engine", streams, False),
                BUSY_OVER_PARENT,
            )

    def _single(self) -> None:
        """Figures of ours that stand for themselves."""
        one = self._where("decode", OURS, "engine", 1, False)
        if one and one.share_of_limit:
            name = "decode, 1 stream, share of reading all weights once"
            self.found.append(Ratio(name, one.share_of_limit, *READ_SHARE))
        cold = {row.system: row for row in self._rows if row.section == "cold"}
        ours, parent = cold.get(OURS), cold.get(PARENT)
        if ours and parent and ours.start_seconds and parent.start_seconds:
            name = f"cold start to the first token, over {PARENT}"
            value = ours.start_seconds / parent.start_seconds
            self.found.append(Ratio(name, value, *COLD_START, less_is_better=True))
        if ours and ours.workers_mb and ours.weights_mb:
            self._idle(ours.workers_mb - ours.weights_mb)

    def _idle(self, beyond: float) -> None:
        name = "memory of an idle worker beyond its weights, MB"
        if all(ratio.name != name for ratio in self.found):
            self.found.append(Ratio(name, beyond, *IDLE_BEYOND_WEIGHTS_MB, less_is_better=True))

    def _times(self) -> None:
        firsts = [r for r in self._rows if r.section == "ttft" and r.path == "engine"]
        peers = {row.prompt_tokens: row for row in firsts if row.system == LLAMA_CPP}
        for row in firsts:
            if row.system == OURS:
                name = f"time to first token, prompt {row.prompt_tokens}, over {LLAMA_CPP}"
                bounds = FIRST_TOKEN.get(row.prompt_tokens)
                if bounds:
                    self._time(name, row, peers.get(row.prompt_tokens), bounds)
        for path in ("engine", "http"):
            pair = [r for r in self._rows if r.section == "goon" and r.path == path]
            notes = {row.note: row for row in pair}
            name = f"time to first token, go on over cold, {path}"
            self._time(name, notes.get("go on"), notes.get("cold"), GO_ON)

        self._memory()

    def _memory(self) -> None:
        rows = [row for row in self._rows if row.section == "memory" and row.rss_mb is not None]
        if len(rows) < 3:
            return
        first, last = rows[1], rows[-1]
        between = f"from request {first.note.split()[1]} to {last.note.split()[1]}, MB"
        for whose, now, then, bounds in (
            ("worker", last.workers_mb, first.workers_mb, WORKER_GROWTH_MB),
            ("server", last.rss_mb, first.rss_mb, MEMORY_GROWTH_MB),
        ):
            grown = (now or 0.0) - (then or 0.0)
            name = f"memory of the {whose} grown {between}"
            self.found.append(Ratio(name, grown, *bounds, less_is_better=True))
        if rows[0].workers_mb and rows[0].weights_mb:
            self._idle(rows[0].workers_mb - rows[0].weights_mb)

    def _rate(
        self, name: str, ours: Row | None, other: Row | None, bounds: tuple[float, float]
    ) -> None:
        if ours and other and ours.tokens_per_second and other.tokens_per_second:
            value = ours.tokens_per_second / other.tokens_per_second
            self.found.append(Ratio(name, value, *bounds))

    def _time(
        self, name: str, ours: Row | None, other: Row | None, bounds: tuple[float, float]
    ) -> None:
        if ours and other and ours.ttft_ms_p50 and other.ttft_ms_p50:
            value = ours.ttft_ms_p50 / other.ttft_ms_p50
            self.found.append(Ratio(name, value, *bounds, less_is_better=True))

    def _where(
        self, section: str, system: str, path: str, streams: int, prefill: bool
    ) -> Row | None:
        wanted = (section, system, path, streams, prefill)
        return self._one(
            lambda r: (r.section, r.system, r.path, r.streams, r.prefill_counted) == wanted
        )

    def _one(self, matches: Callable[[Row], bool]) -> Row | None:
        return next((row for row in self._rows if matches(row)), None)


def gateway_ratios(figures: GatewayFigures) -> list[Ratio]:
    """Judge what the gateway costs."""
    streams = f"gateway, {figures.streams} streams"
    return [
        Ratio(f"{streams}, tokens/s over TorchServe's own", figures.ratio, *GATEWAY_RATE),
        Ratio(f"{streams}, CPU us a chunk", figures.cpu_us_per_chunk, *GATEWAY_CPU_US, True),
        Ratio(
            "gateway, added time to first token, ms",
            figures.added_ttft_ms,
            *GATEWAY_FIRST_TOKEN_MS,
            less_is_better=True,
        ),
        Ratio("gateway, idle memory (RSS), MB", figures.idle_rss_mb, *GATEWAY_IDLE_MB, True),
    ]
