"""Adds replicas to a version, and drains those that are too many."""

from __future__ import annotations

import asyncio
import logging

from gateway.replicas.changes import Changes
from gateway.replicas.loading import Loader
from gateway.replicas.monitor import Monitor
from gateway.replicas.registry import Registry, Version
from gateway.replicas.replica import Replica, State
from gateway.torchserve.client import UpstreamError

logger = logging.getLogger("gateway.replicas")


class Scaling:
    """Changes how many replicas a version has."""

    def __init__(
        self, registry: Registry, loader: Loader, monitor: Monitor, changes: Changes
    ) -> None:
        self._registry = registry
        self._loader = loader
        self._monitor = monitor
        self._changes = changes

    async def scale(
        self,
        model: str,
        version: str,
        least: int,
        most: int | None = None,
        patience: float | None = None,
    ) -> int:
        """Bring a version to at least `least` and at most `most` replicas; return how many it has.

        Args:
            model: Its name.
            version: Its version.
            least: 0 is a state like any other: nothing is served, and nothing is mended.
            most: As `least` if not given. Above a `least` of 0, an archive of MODEL_ARCHIVES is
                loaded on demand again; any other number it keeps.
            patience: Seconds that what is removed has to end what it writes; None is for ever.

        Raises:
            NotFound: It was removed in the meantime.
            UpstreamError: TorchServe refused it.
        """
        registry = self._registry
        # What is asked for is judged inside the lock: it may have waited there for long.
        async with self._changes.lock:
            replicas = registry.of(model, registry.resolve(model, version))
            known = registry.version(model, version)
            count = min(max(len(replicas), least), least if most is None else most)
            while len(replicas) < count:
                taken = {replica.number for replica in replicas}
                number = next(n for n in range(1, count + 1) if n not in taken)
                await self.add(Replica(model, version, number), known)
            surplus = sorted(replicas, key=lambda replica: replica.number)[count:]
            await self.drain(surplus, patience)
            _fix(known, least, most)
            self._changes.news.set()  # whoever waits for a worker learns that none will come
            return count

    async def add(self, replica: Replica, version: Version) -> None:
        """Load a replica of a version, which takes requests then; the lock is held.

        Raises:
            UpstreamError: TorchServe refused it, or its worker did not come.
        """
        version.replicas.append(replica)
        try:
            await self._loader.load(replica, version)
            await self._monitor.see_ready(replica, version, self._loader.start_seconds)
        except UpstreamError:
            await self._loader.give_up(replica)
            version.replicas.remove(replica)
            replica.close()
            raise
        logger.info("%s %s: replica %d is there", replica.model, replica.version, replica.number)

    async def drain(self, replicas: list[Replica], patience: float | None) -> None:
        """Take replicas out once they have finished their sequences; the lock is held.

        Raises:
            UpstreamError: TorchServe refused it; those that are left stay.
        """
        for replica in replicas:
            replica.state = State.DRAINING
        try:
            for replica in reversed(replicas):
                await replica.empty(patience)
                await self._loader.unload(replica)
                replica.close()
                self._registry.of(replica.model, replica.version).remove(replica)
                logger.info("%s: replica %d drained", replica.model, replica.number)
        finally:
            now = asyncio.get_running_loop().time()
            for replica in self._registry.all():
                if replica in replicas:
                    replica.stay(now)
            self._changes.hurry.set()


def _fix(known: Version, least: int, most: int | None) -> None:
    """Have what an operator wants of a version stay, unless that is to be loaded on demand."""
    if known.demand is not None:
        known.demand.is_fixed = not (least == 0 and (most or 0) > 0)
