"""Metrics of each finished request for TorchServe's own log; declared in config/metrics.yaml."""

from __future__ import annotations

from typing import Any, Protocol

from handler.replies.pending_reply import PendingReply

LABEL = "ModelName"
COUNTERS = ("PromptTokens", "GenerationTokens", "CachedPromptTokens")
HISTOGRAMS = ("TimeToFirstToken", "InterTokenLatency", "RequestLatency", "QueueSeconds")
FINISHED = "FinishedRequests"


class _Metric(Protocol):
    def add_or_update(self, value: float, dimension_values: list[str]) -> None: ...


class RequestMetrics:
    """Adds a finished request's tokens and seconds to TorchServe's metrics."""

    def __init__(self, cache: Any, model_name: str) -> None:
        # Imported here: outside a worker (in the engine's tests) there is no TorchServe.
        from ts.metrics.metric_type_enum import MetricTypes

        def add(name: str, unit: str, labels: list[str], kind: Any) -> _Metric:
            existing = cache.cache.get(kind, {}).get(name)
            metric: _Metric = existing or cache.add_metric_to_cache(name, unit, labels, kind)
            return metric

        self._model_name = model_name
        self._metrics = {
            name: add(name, "Count", [LABEL], MetricTypes.COUNTER) for name in COUNTERS
        }
        self._metrics |= {
            name: add(name, "Seconds", [LABEL], MetricTypes.HISTOGRAM) for name in HISTOGRAMS
        }
        self._finished = add(FINISHED, "Count", [LABEL, "EndReason"], MetricTypes.COUNTER)

    def record(self, reply: PendingReply) -> None:
        """Count one request."""
        timings, usage = reply.timings, reply.usage
        values: dict[str, float] = {
            "PromptTokens": usage["prompt_tokens"],
            "GenerationTokens": usage["completion_tokens"],
            "CachedPromptTokens": usage["prompt_tokens_details"]["cached_tokens"],
        }
        if timings.first_token is not None and timings.last_token is not None:
            values["TimeToFirstToken"] = timings.first_token - timings.started
            values["RequestLatency"] = timings.last_token - timings.started
            values["QueueSeconds"] = timings.queue_seconds
            if timings.waits:
                values["InterTokenLatency"] = timings.waited_seconds / timings.waits
        for name, value in values.items():
            self._metrics[name].add_or_update(value, [self._model_name])
        self._finished.add_or_update(1, [self._model_name, reply.end_reason])
