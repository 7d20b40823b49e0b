"""Counts and times of what the gateway serves, and one exposition with TorchServe's.

Named after vLLM's where they mean the same, with `gpt2_` in front.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from gateway.web.exchange import Exchange

LATENCY = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1, 1.5, 2, 3, 5, 10, 20, 40, 60, 120)
FIRST_TOKEN = (0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10, 20, 40)
TOKEN_GAP = (0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.5, 1, 2.5)

# The handler's own, as TorchServe names them (\\w only), and what they are to be called.
RENAMED = {"QueueSeconds": "gpt2_request_queue_time_seconds"}
# Of a model's card, what says how it is computed.
ENGINE_LABELS = ("engine", "isa", "precision", "cache")
FAMILY = re.compile(r"# (?:HELP|TYPE) (\S+)")


class TokenGaps(Collector):
    """A histogram that costs one bisection an observation: it is in the hot path."""

    def __init__(self) -> None:
        self._counts = [0] * (len(TOKEN_GAP) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one gap."""
        self._counts[bisect_left(TOKEN_GAP, seconds)] += 1
        self._sum += seconds

    def collect(self) -> Iterable[Metric]:
        """Return it as Prometheus wants it."""
        total, buckets = 0, []
        for bound, count in zip((*map(str, TOKEN_GAP), "+Inf"), self._counts, strict=True):
            total += count
            buckets.append((bound, total))
        yield HistogramMetricFamily(
            "gpt2_inter_token_latency_seconds",
            "Time between two chunks of a stream, as the gateway passes them on.",
            buckets=buckets,
            sum_value=self._sum,
        )


class Gauges(Collector):
    """Values that are read when somebody asks for the metrics."""

    def __init__(self, read: Callable[[], dict[str, tuple[str, float]]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """Return them as Prometheus wants them."""
        for name, (about, value) in self._read().items():
            yield GaugeMetricFamily(name, about, value=value)


class EngineInfo(Collector):
    """What computes each model, as labels of a gauge that is 1."""

    def __init__(self, cards: Callable[[], Iterable[dict[str, Any]]]) -> None:
        self._cards = cards

    def collect(self) -> Iterable[Metric]:
        """Return it as Prometheus wants it."""
        about = "What computes a model: its engine, instruction set and precision."
        family = GaugeMetricFamily("gpt2_engine_info", about, labels=("model", *ENGINE_LABELS))
        for card in self._cards():
            labels = [str(card.get(name, "")) for name in ("id", *ENGINE_LABELS)]
            family.add_metric(labels, 1.0)
        yield family


class Metrics:
    """What the gateway measures."""

    def __init__(
        self,
        gauges: Callable[[], dict[str, tuple[str, float]]],
        cards: Callable[[], Iterable[dict[str, Any]]],
    ) -> None:
        registry = self._registry = CollectorRegistry()
        gaps = TokenGaps()
        self.token_gap = gaps.observe
        registry.register(gaps)
        registry.register(Gauges(gauges))
        registry.register(EngineInfo(cards))
        self._first_token = Histogram(
            "gpt2_time_to_first_token_seconds",
            "From a streamed request's arrival to its first event.",
            buckets=FIRST_TOKEN,
            registry=registry,
        )
        self._latency = Histogram(
            "gpt2_e2e_request_latency_seconds",
            "From a request's arrival to its end.",
            buckets=LATENCY,
            registry=registry,
        )
        self._prompt = _counter(registry, "gpt2_prompt_tokens", "Tokens of prompts.")
        self._cached = _counter(
            registry, "gpt2_prompt_tokens_cached", "Tokens of prompts that a cache still held."
        )
        self._generated = _counter(registry, "gpt2_generation_tokens", "Tokens generated.")
        self._success = Counter(
            "gpt2_request_success",
            "Sequences that were finished, by why they ended.",
            ["finished_reason"],
            registry=registry,
        )
        self._failed = Counter(
            "gpt2_request_failure",
            "Requests that could not be finished, by why.",
            ["reason"],
            registry=registry,
        )
        self._replayed = _counter(
            registry,
            "gpt2_request_replays",
            "Times that a request was asked for again, since its worker was lost.",
        )
        self._ignored = _counter(
            registry,
            "gpt2_requests_with_ignored_fields",
            "Requests with unknown fields.",
        )
        self._requests = Counter(
            "gpt2_http_requests",
            "Requests, by route and status.",
            ["route", "status"],
            registry=registry,
        )

    def ended(self, exchange: Exchange) -> None:
        """Count a request that generated, or was to."""
        record = exchange.record
        failure, usage = record.aborted or record.failed, record.usage
        if failure:
            self._failed.labels(failure).inc()
        if usage is None:
            return
        if not failure:
            self._latency.observe(time.perf_counter() - exchange.began)
        self._prompt.inc(usage.prompt_tokens)
        self._cached.inc(usage.cached_tokens)
        self._generated.inc(usage.completion_tokens)
        for reason in usage.finish_reasons:
            self._success.labels(reason).inc()
        if record.ttft_ms is not None:
            self._first_token.observe(record.ttft_ms / 1000)

    def replayed(self) -> None:
        """Count a request that is asked for again."""
        self._replayed.inc()

    def fields_ignored(self) -> None:
        """Count a request with fields that were ignored; their names are the client's."""
        self._ignored.inc()

    def answered(self, route: str, status: int) -> None:
        """Count any request."""
        self._requests.labels(route, str(status)).inc()

    def exposition(self, torchserve: str, wanted: Collection[str] = ()) -> bytes:
        """Return our metrics and TorchServe's in one exposition; no family comes twice.

        Of those that are `wanted`, if any are: families, or single series like `..._bucket`.
        """
        own = generate_latest(self._registry).decode()
        taken = {family for family in FAMILY.findall(own)}
        others = "".join(f"{line}\n" for line in _without(taken, torchserve))
        text = own + others
        return (_only(wanted, text) if wanted else text).encode()


def _without(taken: set[str], exposition: str) -> Iterator[str]:
    family = ""
    for line in exposition.splitlines():
        for name, better in RENAMED.items():
            line = re.sub(rf"(^|# HELP |# TYPE ){name}(?=[ _{{])", rf"\g<1>{better}", line)
        found = FAMILY.match(line)
        if found:
            family = found[1]
        if line.strip() and family not in taken:
            yield line


def _only(wanted: Collection[str], exposition: str) -> str:
    """Return the series of an exposition that are wanted, each with the head of its family."""
    head: list[str] = []
    kept: list[str] = []
    family = ""
    for line in exposition.splitlines():
        found = FAMILY.match(line)
        if found:
            head, family = [*head, line] if found[1] == family else [line], found[1]
        elif family in wanted or re.split(r"[ {]", line, maxsplit=1)[0] in wanted:
            kept += [*head, line]
            head = []
    return "".join(f"{line}\n" for line in kept)


def _counter(registry: CollectorRegistry, name: str, about: str) -> Counter:
    return Counter(name, about, registry=registry)
