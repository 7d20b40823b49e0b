"""Loads the archives of MODEL_ARCHIVES when a request names their model."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from gateway.archives.listing import Listed
from gateway.errors import GatewayError, TooManyRequests, Unavailable, draining
from gateway.replicas.changes import Changes
from gateway.replicas.demand import Demand
from gateway.replicas.eviction import Eviction
from gateway.replicas.registry import Registry, Version
from gateway.replicas.replica import Replica
from gateway.replicas.resident import Resident
from gateway.replicas.scaling import Scaling
from gateway.settings import Settings
from gateway.torchserve.client import UpstreamError

logger = logging.getLogger("gateway.replicas")

RETRY_SECONDS = 5
# What could not be loaded is tried again after that; until then its error is told at once.
FAILED_SECONDS = 10.0
LOOK_SECONDS = 0.25
# A worker that ended, or TorchServe itself, may do better.
TRIES, TRY_SECONDS = 3, 1.0


class OnDemand:
    """Who asks for a model waits here until it is loaded."""

    def __init__(
        self, settings: Settings, registry: Registry, scaling: Scaling, changes: Changes
    ) -> None:
        self._registry = registry
        self._scaling = scaling
        self._changes = changes
        self._seconds = settings.model_load_seconds
        self._most_waiting = max(settings.max_waiting, 1)
        self.resident = Resident(registry, settings.models_memory_bytes)
        self.eviction = Eviction(registry, scaling, changes, self.resident)
        # One is loaded at a time.
        self._turn = asyncio.Lock()
        self._is_draining = False
        # Set when the service begins to shut down; made by who waits first.
        self._end: asyncio.Future[None] | None = None
        self._failures: dict[tuple[str, str], tuple[float, GatewayError]] = {}
        self.is_on = bool(settings.model_archives)
        self.loads = 0

    def know(self, archives: Iterable[Listed]) -> None:
        """Have these be known, and loaded when somebody asks for them."""
        for each in archives:
            if (each.model, each.version) in self._registry:
                logger.error(
                    "Not served: `%s` is `%s` %s, which is already loaded",
                    *(each.archive, each.model, each.version),
                )
                continue
            about = {"created": each.created, **each.about}
            demand = Demand(self.resident.estimate(each.size), about)
            self._registry.add(each.model, each.version, Version(each.archive, demand=demand))

    def drain(self) -> None:
        """Wait for no model any more."""
        self._is_draining = True
        if self._end is not None and not self._end.done():
            self._end.set_result(None)

    async def serving(self, model: str, version: str | None = None) -> str:
        """Return the version that serves a model; one that was never loaded is loaded first.

        Raises:
            GatewayError: There is none, it takes no predictions, or could not be loaded in time.
        """
        version = self._registry.serving(model, version)
        known = self._registry.version(model, version)
        if known.is_on_demand and not known.was_ready:
            async with self.lease(model, version):
                pass
        return version

    @asynccontextmanager
    async def lease(self, model: str, version: str) -> AsyncIterator[None]:
        """Have a version be loaded, and stay so.

        Raises:
            GatewayError: It could not be loaded in time.
        """
        known = self._registry.version(model, self._registry.resolve(model, version))
        demand = known.demand
        if demand is None:
            yield
            return
        if not _is_there(known):
            await self._wait_for(model, version, demand)
        demand.users += 1
        try:
            yield
        finally:
            demand.users -= 1
            demand.last_used = asyncio.get_running_loop().time()
            self.eviction.note_freed()

    async def _wait_for(self, model: str, version: str, demand: Demand) -> None:
        if self._waiting() >= self._most_waiting:
            raise TooManyRequests(
                f"Too many requests wait for models to be loaded; try again in {RETRY_SECONDS} s",
                code="full",
                retry_after=RETRY_SECONDS,
            )
        demand.waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._bring(model, version)
        except TimeoutError:
            if demand.lacks_memory:
                text = (
                    f"`{model}` is waiting for memory that other models are using; try again soon"
                )
            else:
                text = f"`{model}` is being loaded; try again soon"
            raise Unavailable(text, code="loading", retry_after=RETRY_SECONDS) from None
        finally:
            demand.waiting -= 1

    def _waiting(self) -> int:
        return sum(each.demand.waiting for _, _, each in self._registry.known() if each.demand)

    async def _bring(self, model: str, version: str) -> None:
        """Return once a version is loaded, or no longer on demand."""
        while True:
            known = self._registry.version(model, self._registry.resolve(model, version))
            demand = known.demand
            if _is_there(known) or demand is None or not known.is_on_demand:
                return
            if self._is_draining:
                raise draining()
            if demand.loading is None:
                self._refuse_if_failed(model, version)
                demand.loading = asyncio.create_task(self._load(model, version, known, demand))
                demand.loading.add_done_callback(_note_end)
            loading = demand.loading
            if self._end is None:
                self._end = asyncio.get_running_loop().create_future()
            await asyncio.wait([loading, self._end], return_when=asyncio.FIRST_COMPLETED)
            if not loading.done() or loading.cancelled():
                continue
            if (error := loading.exception()) is not None:
                raise error

    def _refuse_if_failed(self, model: str, version: str) -> None:
        failed_at, error = self._failures.get((model, version), (0.0, None))
        if error is not None and time.monotonic() - failed_at < FAILED_SECONDS:
            raise error

    async def _load(self, model: str, version: str, known: Version, demand: Demand) -> None:
        began = time.perf_counter()
        try:
            async with self._turn:
                await self.eviction.make_room(model, known, demand)
                if not known.replicas:  # or an operator was quicker
                    await self._add(model, version, known)
                    demand.loaded_at = asyncio.get_running_loop().time()
                    self.loads += 1
                    seconds = time.perf_counter() - began
                    logger.info("%s %s: loaded in %.1f s", model, version, seconds)
        finally:
            demand.loading = None
            self._changes.news.set()

    async def _add(self, model: str, version: str, known: Version) -> None:
        """Load its one replica.

        Raises:
            Unavailable: TorchServe could not.
        """
        known.is_loading = True
        try:
            for left in reversed(range(TRIES)):
                try:
                    async with self._changes.lock:
                        if known.replicas or (model, version) not in self._registry:
                            return
                        await self._scaling.add(Replica(model, version, 1), known)
                        return
                except UpstreamError as error:
                    logger.warning("%s: not loaded: %s", model, error.message)
                    if not left or error.status != 503:
                        break
                await self._wait_for_torchserve(known)
        finally:
            known.is_loading = False
        fault = Unavailable(
            f"`{model}` could not be loaded; the service's log says why",
            code="load_failed",
            retry_after=int(FAILED_SECONDS),
        )
        self._failures[model, version] = (time.monotonic(), fault)
        raise fault

    async def _wait_for_torchserve(self, known: Version) -> None:
        """Wait until it answers again; as long as it does not, the service's own model is away."""
        await asyncio.sleep(TRY_SECONDS)
        registry = self._registry
        while known.demand and known.demand.waiting:
            if registry.is_ready() or registry.is_at_rest():
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def keep(self) -> None:
        """Put away what is too much by what was measured, or an operator has loaded, for ever."""
        while self.is_on:
            await asyncio.sleep(4 * LOOK_SECONDS)
            self.resident.measure()
            if self.resident.over() > 0 and not self._turn.locked():
                async with self._turn:
                    await self.eviction.relieve()


def _note_end(loading: asyncio.Task[None]) -> None:
    """Take its error, which nobody may wait for any more."""
    if not loading.cancelled():
        loading.exception()


def _is_there(known: Version) -> bool:
    """Whether a version takes requests as far as memory goes; a lost worker comes back."""
    is_leaving = known.demand is not None and known.demand.is_leaving
    return bool(known.replicas) and not known.is_loading and not is_leaving
