"""Reports usage of the KV cache as a TorchServe metric, whether or not anything is served."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from handler.torchserve.metrics import LABEL

NAME = "KVCacheUsage"
SECONDS = 1.0


class CacheGauge(threading.Thread):
    """Looks once a second, and tells TorchServe what has changed."""

    def __init__(self, cache: Any, model_name: str, read: Callable[[], float]) -> None:
        """Prepare.

        Args:
            cache: TorchServe's metrics.
            model_name: The label's value.
            read: Returns the share of the cache that is held, 0 to 1.
        """
        super().__init__(name="cache-gauge", daemon=True)
        # Imported here: outside a worker (in the engine's tests) there is no TorchServe.
        from ts.metrics.metric_type_enum import MetricTypes

        kind = MetricTypes.GAUGE
        existing = cache.cache.get(kind, {}).get(NAME)
        self._metric = existing or cache.add_metric_to_cache(NAME, "Ratio", [LABEL], kind)
        self._model_name = model_name
        self._read = read

    def run(self) -> None:
        """Go on as long as the worker does."""
        reported = None
        while True:
            share = round(self._read(), 4)
            if share != reported:
                self._metric.add_or_update(share, [self._model_name])
                reported = share
            time.sleep(SECONDS)
