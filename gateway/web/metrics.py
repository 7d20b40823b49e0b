"""Counters of requests, `gpt2_...`, and the exposition of all; gauges: `gateway/assembly.py`.

What vLLM measures too has its names (`serving_metrics.py`); what is this service's own begins with
`gpt2_`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.web.exchange import Exchange
from gateway.web.families import encoded, only, together, torchserves
from gateway.web.serving_metrics import ServingGauges, ServingMetrics, labelled

# Of a model's card, what says how it is computed.
ENGINE_LABELS = ("engine", "isa", "precision", "cache")
# The handler's gauge of each replica, and the name of its label there.
CACHE_USAGE, REPLICA = "KVCacheUsage", "ModelName"
Values = dict[str, tuple[str, float]]


class Gauges(Collector):
    """Values that are read when somebody asks for the metrics."""

    def __init__(self, read: Callable[[], Values]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """Return them as Prometheus wants them."""
        for name, (about, value) in self._read().items():
            yield GaugeMetricFamily(f"gpt2_{name}", about, value=value)


class Counts(Collector):
    """What others count; read when somebody asks for the metrics."""

    def __init__(self, read: Callable[[], Values]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """Return them as Prometheus wants them."""
        for name, (about, value) in self._read().items():
            yield CounterMetricFamily(f"gpt2_{name}", about, value=value)


class EngineInfo(Collector):
    """What computes each model, as labels of a gauge that is 1."""

    def __init__(self, cards: Callable[[], Iterable[dict[str, Any]]]) -> None:
        self._cards = cards

    def collect(self) -> Iterable[Metric]:
        """Return it as Prometheus wants it."""
        about = "A model's engine, instruction set and precision."
        family = GaugeMetricFamily("gpt2_engine_info", about, labels=("model", *ENGINE_LABELS))
        for card in self._cards():
            labels = [str(card.get(name, "")) for name in ("id", *ENGINE_LABELS)]
            family.add_metric(labels, 1.0)
        yield family


class Metrics:
    """What the gateway measures."""

    def __init__(
        self,
        own_model: str,
        gauges: Callable[[], Values],
        counts: Callable[[], Values],
        serving_gauges: Callable[[], Values],
        cards: Callable[[], Iterable[dict[str, Any]]],
        replicas: Callable[[], Collection[str]],
        failures: Iterable[str],
    ) -> None:
        """Measure.

        Args:
            own_model: The service's own model.
            gauges: Reads the service's gauges: names without `gpt2_`, what they are, their values.
            counts: Likewise what only grows; it is given the end `_total`.
            serving_gauges: Likewise those that vLLM has: names without `vllm:`.
            cards: What handlers say of the models that are loaded.
            replicas: Names of the replicas that there are.
            failures: Why a request can fail.
        """
        self._own_model = own_model
        self._replicas = replicas
        registry = self._registry = CollectorRegistry()
        registry.register(Gauges(gauges))
        registry.register(ServingGauges(own_model, serving_gauges))
        registry.register(Counts(counts))
        registry.register(EngineInfo(cards))
        self._serving = ServingMetrics(registry, own_model)
        self._failed = Counter(
            "gpt2_request_failure",
            "Requests that failed, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in failures:
            self._failed.labels(reason)  # from the start: a rate needs a value before the first
        self._replayed = Counter(
            "gpt2_request_replays",
            "Requests sent again after their worker was lost.",
            registry=registry,
        )
        self._ignored = Counter(
            "gpt2_requests_with_ignored_fields", "Requests with unknown fields.", registry=registry
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
        failure = record.aborted or record.failed
        if failure:
            self._failed.labels(failure).inc()
        self._serving.ended(exchange, None if failure else time.perf_counter() - exchange.began)

    def replayed(self) -> None:
        """Count a request that is asked for again."""
        self._replayed.inc()

    def fields_ignored(self) -> None:
        """Count a request with fields that were ignored; their names are the client's."""
        self._ignored.inc()

    def answered(self, route: str, status: int) -> None:
        """Count any request."""
        self._requests.labels(route, str(status)).inc()

    def exposition(
        self, torchserve: str, wanted: Collection[str] = (), accept: str = ""
    ) -> tuple[bytes, str]:
        """Return our metrics and TorchServe's in one exposition; no family comes twice.

        Of those that are `wanted`, if any are: families, or single series like `..._bucket`.

        Returns:
            The text, in OpenMetrics if `accept` asks for it, and its content type.
        """
        others = list(torchserves(torchserve))
        own = [*self._registry.collect(), *self._cache_usage(others)]
        return encoded(only(together(own, others), wanted), accept)

    def _cache_usage(self, others: Iterable[Metric]) -> Iterable[Metric]:
        """The mean of the replicas' caches, as far as their handlers have reported it."""
        known = self._replicas()
        shares = [
            sample.value
            for family in others
            if family.name == CACHE_USAGE
            for sample in family.samples
            if sample.labels.get(REPLICA) in known
        ]
        if shares:
            about = "Share of the KV cache that running sequences occupy or have reserved, 0 to 1."
            share = sum(shares) / len(shares)
            yield labelled("vllm:kv_cache_usage_perc", about, self._own_model, share)
