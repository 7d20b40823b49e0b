"""The caller that a request counts for, and its share: a key, or an address without keys."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.settings.key_limits import KeyLimits
from gateway.web.auth import ANONYMOUS, neighbourhood
from gateway.web.fair_queue import Caller
from gateway.web.record import Record


class Callers:
    """Tells callers apart."""

    def __init__(self, limits: Mapping[str, KeyLimits]) -> None:
        self._limits = limits

    def of(self, record: Record, priority: int = 0) -> Caller:
        """Return who asks; a request's `priority` counts where it is behind the key's own."""
        key = record.key
        if key in (None, ANONYMOUS):
            return Caller(f"address {neighbourhood(record.client)}", priority=max(0, priority))
        limits = self._limits.get(str(key), KeyLimits())
        return Caller(f"key {key}", limits.weight, max(limits.priority, priority))
