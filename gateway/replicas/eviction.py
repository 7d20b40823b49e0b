"""Puts models away whose memory others need: what was used longest ago first.

No model is put away while a request uses it: where all are in use, the one that was loaded first
takes no further requests, ends those it has, and gives way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from gateway.errors import Unavailable
from gateway.replicas.changes import Changes
from gateway.replicas.demand import Demand
from gateway.replicas.registry import Registry, Version
from gateway.replicas.resident import Resident
from gateway.replicas.scaling import Scaling
from gateway.torchserve.client import UpstreamError

logger = logging.getLogger("gateway.replicas")

# A model that is in use keeps its memory so long before it has to give way.
STAY_SECONDS = 2.0
LOOK_SECONDS = 0.25
RETRY_SECONDS = 1.0


class Eviction:
    """Makes room within MODELS_MEMORY_BYTES."""

    def __init__(
        self, registry: Registry, scaling: Scaling, changes: Changes, resident: Resident
    ) -> None:
        self._registry = registry
        self._scaling = scaling
        self._changes = changes
        self._resident = resident
        # A request ended, or a model was put away.
        self._freed = asyncio.Event()
        self.count = 0

    def note_freed(self) -> None:
        """Look again soon: a request has ended."""
        self._freed.set()

    async def make_room(self, model: str, known: Version, demand: Demand) -> None:
        """Put away what was used longest ago until there is room for a version.

        Raises:
            Unavailable: There would be none with all put away.
        """
        since = asyncio.get_running_loop().time()
        try:
            while demand.waiting:
                if known.replicas:  # it need not give way after all
                    return
                over = self._resident.over_with(known)
                others = [each for each in self._movable() if each is not known]
                if over <= 0:
                    return
                if over > sum(map(self._resident.bytes_of, others)):
                    raise self._no_room(model, known)
                if not await self._put_away_one(others):
                    demand.lacks_memory = True
                    await self._wait_for_end(others, since)
            raise Unavailable("Nobody waits for it any more")  # so nobody reads this
        finally:
            demand.lacks_memory = False
            for other in self._movable():
                if other.demand is not None:
                    other.demand.is_leaving = False

    def _no_room(self, model: str, known: Version) -> Unavailable:
        needed, most = self._resident.bytes_of(known) >> 20, self._resident.bound >> 20
        fixed = self._resident.fixed() >> 20
        return Unavailable(
            f"`{model}` needs about {needed} MiB, but the models that stay loaded use {fixed} of "
            f"the {most} MiB in MODELS_MEMORY_BYTES; raise it, or unload one with "
            "PUT /models/NAME?min_worker=0",
            code="no_room",
        )

    def _movable(self) -> list[Version]:
        """Versions that are loaded and may be put away."""
        return [
            known
            for _, _, known in self._registry.known()
            if known.is_on_demand and known.replicas and not known.is_loading
        ]

    async def _put_away_one(self, others: list[Version]) -> bool:
        """Put away what nobody wants and was used longest ago; return whether there was one."""
        idle = [(each, each.demand) for each in others if each.demand and not each.demand.is_wanted]
        if not idle:
            return False
        known, demand = min(idle, key=lambda each: (not each[1].is_leaving, each[1].last_used))
        demand.is_leaving = True
        try:
            async with self._changes.lock:
                if demand.is_wanted or demand.is_fixed or not known.replicas:
                    return True  # things have changed: look again
                replica = known.replicas[0]
                await self._scaling.drain(list(known.replicas), None)
                self.count += 1
                logger.info("%s %s: put away", replica.model, replica.version)
        except UpstreamError as error:
            logger.warning("A model could not be put away: %s", error.message)
            await asyncio.sleep(RETRY_SECONDS)
        finally:
            demand.is_leaving = False
        return True

    async def _wait_for_end(self, others: list[Version], since: float) -> None:
        """Wait until something ends; after a while, the one loaded first takes no more."""
        now = asyncio.get_running_loop().time()
        demands = [each.demand for each in others if each.demand]
        first = min(demands, key=lambda each: each.loaded_at)
        is_chosen = any(each.is_leaving for each in demands)
        if not is_chosen and now - max(since, first.loaded_at) > STAY_SECONDS:
            first.is_leaving = True
        self._freed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await self._freed.wait()

    async def relieve(self) -> None:
        """Put one away if what is loaded needs more than its bound."""
        if self._resident.over() > 0:
            await self._put_away_one(self._movable())
