"""Metrics of generation, `vllm:...`: what is built on vLLM's metrics reads these too.

Each has vLLM's meaning and its labels, `model_name` and `engine`. The replicas of a service are one
engine, since whoever chooses between services sees one address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.web.exchange import Exchange
from gateway.web.record import EngineTimes, Usage
from handler.replies.timings import GAP_BOUNDS

LABELS = ("model_name", "engine")
ENGINE = "0"
LATENCY = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1, 1.5, 2, 3, 5, 10, 20, 40, 60, 120)
STAGE = (0.001, 0.005, 0.01, 0.025, 0.05, *LATENCY[1:])
FIRST_TOKEN = (0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10, 20, 40)
TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
FINISH_REASONS = ("stop", "length")


class TokenGaps(Collector):
    """Times between tokens, which the engine has counted: a histogram that takes whole parts."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}

    def add(self, model: str, counts: list[int], seconds: float) -> None:
        """Add one request's: how many were in each part of GAP_BOUNDS, and their sum."""
        known = self._counts.get(model, [0] * len(counts))
        self._counts[model] = [a + b for a, b in zip(known, counts, strict=True)]
        self._seconds[model] = self._seconds.get(model, 0.0) + seconds

    def collect(self) -> Iterable[Metric]:
        """Return it as Prometheus wants it."""
        family = HistogramMetricFamily(
            "vllm:inter_token_latency_seconds",
            "Time between two tokens of a sequence, as the engine produced them.",
            labels=LABELS,
        )
        bounds = [*(str(float(bound)) for bound in GAP_BOUNDS), "+Inf"]
        for model, counts in self._counts.items():
            buckets = list(zip(bounds, accumulate(counts), strict=True))
            family.add_metric([model, ENGINE], buckets, self._seconds[model])
        yield family


class ServingGauges(Collector):
    """What runs and waits, read when somebody asks for the metrics."""

    def __init__(self, model: str, read: Callable[[], dict[str, tuple[str, float]]]) -> None:
        self._model = model
        self._read = read

    def collect(self) -> Iterable[Metric]:
        """Return them as Prometheus wants them."""
        for name, (about, value) in self._read().items():
            yield labelled(f"vllm:{name}", about, self._model, value)


def labelled(name: str, about: str, model: str, value: float) -> GaugeMetricFamily:
    """A gauge of one series with vLLM's labels."""
    family = GaugeMetricFamily(name, about, labels=LABELS)
    family.add_metric([model, ENGINE], value)
    return family


class ServingMetrics:
    """Counts each request that generated, or was to."""

    def __init__(self, registry: CollectorRegistry, own_model: str) -> None:
        self._gaps = TokenGaps()
        registry.register(self._gaps)

        def histogram(name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"vllm:{name}", about, LABELS, buckets=buckets, registry=registry)

        def counter(name: str, about: str) -> Counter:
            made = Counter(f"vllm:{name}", about, LABELS, registry=registry)
            made.labels(own_model, ENGINE)  # from the start: a rate needs a value before the first
            return made

        self._first_token = histogram(
            "time_to_first_token_seconds",
            "From a request's arrival to its first token; of a stream, to its first event.",
            FIRST_TOKEN,
        )
        self._per_token = histogram(
            "request_time_per_output_token_seconds", "A request's mean time per token.", GAP_BOUNDS
        )
        self._latency = histogram(
            "e2e_request_latency_seconds", "From a request's arrival to its end.", LATENCY
        )
        self._queued = histogram(
            "request_queue_time_seconds", "How long a request waited for a slot.", STAGE
        )
        self._prefill = histogram(
            "request_prefill_time_seconds", "From a request's slot to its first token.", STAGE
        )
        self._decode = histogram(
            "request_decode_time_seconds", "From a request's first token to its last.", STAGE
        )
        self._inference = histogram(
            "request_inference_time_seconds", "From a request's slot to its last token.", STAGE
        )
        self._prompts = histogram("request_prompt_tokens", "Tokens of a request's prompts.", TOKENS)
        self._texts = histogram(
            "request_generation_tokens", "Tokens that a request generated.", TOKENS
        )
        self._prompt = counter("prompt_tokens", "Tokens of prompts.")
        self._cached = counter("prompt_tokens_cached", "Prompt tokens found in the cache.")
        self._asked = counter("prefix_cache_queries", "Tokens looked up in the cache.")
        self._hits = counter("prefix_cache_hits", "Tokens found in the cache.")
        self._generated = counter("generation_tokens", "Tokens generated.")
        self._success = Counter(
            "vllm:request_success",
            "Finished sequences, by finish reason.",
            [*LABELS, "finished_reason"],
            registry=registry,
        )
        for reason in FINISH_REASONS:
            self._success.labels(own_model, ENGINE, reason)

    def ended(self, exchange: Exchange, seconds: float | None) -> None:
        """Count a request whose usage is known.

        Args:
            exchange: The request.
            seconds: From its arrival to its end; None for one that was not finished.
        """
        record, exemplar = exchange.record, exchange.exemplar
        usage, times = record.usage, record.times
        if usage is None:
            return
        labels = (record.model or "", ENGINE)
        if seconds is not None:
            self._latency.labels(*labels).observe(seconds, exemplar)
        self._count(labels, usage)
        first = _first_token_seconds(exchange)
        if first is not None:
            self._first_token.labels(*labels).observe(first, exemplar)
        if times is not None:
            self._time(labels, times, (record.queued_ms or 0.0) / 1000)

    def _count(self, labels: tuple[str, str], usage: Usage) -> None:
        self._prompt.labels(*labels).inc(usage.prompt_tokens)
        self._cached.labels(*labels).inc(usage.cached_tokens)
        self._asked.labels(*labels).inc(usage.prompt_tokens)
        self._hits.labels(*labels).inc(usage.cached_tokens)
        self._generated.labels(*labels).inc(usage.completion_tokens)
        self._prompts.labels(*labels).observe(usage.prompt_tokens)
        self._texts.labels(*labels).observe(usage.completion_tokens)
        for reason in usage.finish_reasons:
            self._success.labels(*labels, reason).inc()

    def _time(self, labels: tuple[str, str], times: EngineTimes, queued: float) -> None:
        """Observe a request's stages; `queued` are the seconds that it waited before the engine."""
        self._queued.labels(*labels).observe(queued + times.queued)
        self._prefill.labels(*labels).observe(times.first - times.scheduled)
        self._decode.labels(*labels).observe(times.last - times.first)
        self._inference.labels(*labels).observe(times.last - times.scheduled)
        waits = sum(times.gaps)
        if waits:
            self._gaps.add(labels[0], times.gaps, times.waited)
            self._per_token.labels(*labels).observe(times.waited / waits)


def _first_token_seconds(exchange: Exchange) -> float | None:
    record = exchange.record
    if record.ttft_ms is not None:
        return record.ttft_ms / 1000
    return None if record.times is None else record.times.first - exchange.began
