"""The ratios and costs that this project holds itself to, read from what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.gateway import GatewayFigures
from bench.rows import Row
from bench.systems import LLAMA_CPP, OPENVINO_INT8, OURS, TRANSFORMERS_GENERATE, TUTORIAL

# streams -> (floor, aim), over each peer's decode without prefill.
DECODE = {
    LLAMA_CPP: {1: (1.4, 1.8), 8: (2.0, 2.8), 32: (2.4, 3.2)},
    TRANSFORMERS_GENERATE: {1: (7.0, 10.0), 8: (5.5, 8.0), 32: (3.3, 4.5)},
    OPENVINO_INT8: {1: (1.2, 1.5), 8: (1.7, 2.2), 32: (1.8, 2.4)},
}
HTTP_SHARE = {1: (0.80, 0.95), 8: (0.85, 0.95), 32: (0.85, 0.95)}
TUTORIAL_RATIO = {1: (4.0, 7.0), 32: (10.0, 20.0)}
FIRST_TOKEN = (0.7, 0.4)
GO_ON = (0.25, 0.1)
CHURN = (1.3, 2.0)
# MB: growth from a tenth of the requests to the last, of the worker and of the whole server (the
# allocators make noise, Java's most of all), and what an idle worker holds beyond its weights.
WORKER_GROWTH_MB = (6.0, 3.0)
MEMORY_GROWTH_MB = (20.0, 10.0)
IDLE_BEYOND_WEIGHTS_MB = (300.0, 300.0)

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
        for streams, bounds in HTTP_SHARE.items():
            served = self._where("decode", OURS, "http", streams, False)
            if served and served.share_of_engine:
                name = f"decode over HTTP, {streams} streams, share of the engine's"
                self.found.append(Ratio(name, served.share_of_engine, *bounds))
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

    def _times(self) -> None:
        firsts = [r for r in self._rows if r.section == "ttft" and r.path == "engine"]
        peers = {row.prompt_tokens: row for row in firsts if row.system == LLAMA_CPP}
        for row in firsts:
            if row.system == OURS:
                name = f"time to first token, prompt {row.prompt_tokens}, over {LLAMA_CPP}"
                self._time(name, row, peers.get(row.prompt_tokens), FIRST_TOKEN)
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
            beyond = rows[0].workers_mb - rows[0].weights_mb
            name = "memory of an idle worker beyond its weights, MB"
            self.found.append(Ratio(name, beyond, *IDLE_BEYOND_WEIGHTS_MB, less_is_better=True))

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
