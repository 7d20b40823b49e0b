"""Chooses the replica for a request: the fewest sequences, then a warm cache."""

from __future__ import annotations

from collections import OrderedDict

from gateway.replicas.registry import Registry
from gateway.replicas.replica import Replica, State

REMEMBERED_PREFIXES = 2048


class Choice:
    """Chooses among the replicas that are ready."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        # Of each prefix, the number of the replica that last had it.
        self._prefixes: OrderedDict[tuple[str, str, str], int] = OrderedDict()

    def choose(self, model: str, version: str, prefix: str) -> Replica | None:
        """Return the ready replica with the fewest sequences in flight, or None.

        One that is kept for a single request counts as not ready.

        Of several the one that last had the same prefix: its key-value cache may still hold it.
        """
        replicas = self._registry.of(model, version)
        ready = [each for each in replicas if each.state is State.READY and not each.is_reserved]
        if len(ready) < 2:
            return ready[0] if ready else None
        fewest = min(replica.sequences for replica in ready)
        best = [replica for replica in ready if replica.sequences == fewest]
        return self._warm((model, version, prefix), best) if prefix else best[0]

    def _warm(self, key: tuple[str, str, str], best: list[Replica]) -> Replica:
        """Return the replica that last had this prefix, else the first, and remember it."""
        last = self._prefixes.pop(key, 0)
        chosen = next((replica for replica in best if replica.number == last), best[0])
        self._prefixes[key] = chosen.number
        if len(self._prefixes) > REMEMBERED_PREFIXES:
            self._prefixes.popitem(last=False)
        return chosen
