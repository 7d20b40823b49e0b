"""Follows the state of every replica, and registers anew what does not come back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from gateway.errors import Unavailable
from gateway.replicas.changes import Changes
from gateway.replicas.choice import Choice
from gateway.replicas.in_flight import InFlight
from gateway.replicas.loading import Loader
from gateway.replicas.registry import Registry, Version
from gateway.replicas.replica import Replica, State
from gateway.replicas.reviving import Reviver
from gateway.torchserve.client import Upstream, UpstreamError
from gateway.torchserve.retired import Retired

logger = logging.getLogger("gateway.replicas")

FAST_POLL_SECONDS = 0.1
POLL_SECONDS = 2.0
# A worker that is lost for so long is not awaited any more: its replica is registered anew.
REPLACE_SECONDS = 45.0
# So many questions in a row (of up to 10 s each) that TorchServe leaves without an answer mean that
# it hangs. Counted, not timed: a platform may freeze us and TorchServe together for any time.
SILENT_QUESTIONS = 3


class Monitor:
    """Knows how every replica is."""

    def __init__(
        self,
        upstream: Upstream,
        registry: Registry,
        loader: Loader,
        changes: Changes,
        retired: Retired,
    ) -> None:
        self._upstream = upstream
        self._registry = registry
        self._loader = loader
        self._changes = changes
        self._choice = Choice(registry)
        self._reviver = Reviver(loader, changes, retired)
        self._replacing: set[asyncio.Task[None]] = set()
        self._unanswered = 0
        self.was_ready = False

    @property
    def is_silent(self) -> bool:
        """Return whether TorchServe's management has stopped answering.

        Not while a change is under way: unpacking a large archive may hold its answers up, and a
        change ends by itself in START_SECONDS.
        """
        return self._unanswered >= SILENT_QUESTIONS and not self._changes.lock.locked()

    async def enter(
        self, request: InFlight, model: str, version: str, prefix: str, seconds: float
    ) -> Replica:
        """Have a replica serve a request and return it; waits for one that is coming back.

        Raises:
            Unavailable: None came in time, or none is wanted.
        """
        async with _in_time(seconds):
            replica = await self._wait_for(model, version, prefix)
            replica.enter(request)
            return replica

    async def enter_alone(
        self, request: InFlight, model: str, version: str, prefix: str, seconds: float
    ) -> Replica:
        """Likewise, with nothing beside the request: what is served there ends first.

        Raises:
            Unavailable: None came in time, or none is wanted.
        """
        async with _in_time(seconds):
            while True:
                replica = await self._wait_for(model, version, prefix)
                replica.is_reserved = True
                try:
                    await replica.wait_idle()
                    if replica.state is State.READY:
                        replica.enter(request)
                        return replica
                finally:
                    if request not in replica.requests:
                        self._open(replica)

    def leave(self, replica: Replica, request: InFlight) -> None:
        """Note that a request is served no more; who was alone lets the others in."""
        replica.leave(request)
        if replica.is_reserved and not replica.requests:
            self._open(replica)

    def _open(self, replica: Replica) -> None:
        replica.is_reserved = False
        self._changes.news.set()

    async def _wait_for(self, model: str, version: str, prefix: str) -> Replica:
        while True:
            replica = self._choice.choose(model, version, prefix)
            if replica is not None:
                return replica
            self._registry.refuse_at_rest(model, version)
            self._changes.hurry.set()
            self._changes.news.clear()
            await self._changes.news.wait()

    async def adopt(self, count: int, archive: str) -> None:
        """Take over what a TorchServe that was just started has loaded, with `count` replicas.

        What it was started with is `archive`, unpacked where it says; further replicas share that.

        What it lacks (replicas, models that were registered) is lost and overdue, so that `keep`
        registers it anew, one after the other, while the service's own model serves already.
        """
        registry, model = self._registry, self._registry.own_model
        found = await self._upstream.manage("GET", f"/models/{model}/all")
        loaded = {(model, str(entry["modelVersion"])): str(entry["modelUrl"]) for entry in found}
        async with self._changes.lock:
            if not registry.versions(model):
                for _, version in loaded:
                    replicas = [Replica(model, version, number + 1) for number in range(count)]
                    registry.add(model, version, Version(archive, replicas=replicas))
            for key, source in loaded.items():
                if key in registry:
                    registry.version(*key).source = source
            for replica in registry.all():
                replica.begin(
                    is_loaded=replica.number == 1 and (replica.model, replica.version) in loaded
                )
            for _, version in loaded:
                if not registry.of(model, version):
                    await self._loader.unload_unwanted(model, version)
        self._changes.hurry.set()

    async def keep(self) -> None:
        """Follow the state of every replica, and revive what ends, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reviver.keep())
            tasks.create_task(self._follow())

    async def _follow(self) -> None:
        hurry = self._changes.hurry
        while True:
            await self.refresh()
            states = [replica.state for replica in self._registry.all()]
            is_quiet = self._registry.models and all(state is State.READY for state in states)
            hurry.clear()
            try:
                async with asyncio.timeout(POLL_SECONDS if is_quiet else FAST_POLL_SECONDS):
                    await hurry.wait()
                    await asyncio.sleep(FAST_POLL_SECONDS / 4)
            except TimeoutError:
                pass

    async def refresh(self) -> None:
        """Ask TorchServe once how every replica is; what is lost for too long is replaced."""
        for replica in self._registry.all():
            await self.look(replica)
        now = asyncio.get_running_loop().time()
        for replica in self._registry.all():
            overdue = replica.lost_at is not None and now - replica.lost_at > REPLACE_SECONDS
            if overdue and replica.state is State.LOST and not self._changes.lock.locked():
                replica.lost_at = now
                task = asyncio.create_task(self._replace(replica))
                self._replacing.add(task)
                task.add_done_callback(self._replacing.discard)

    async def look(self, replica: Replica) -> None:
        """Ask TorchServe once how a replica is."""
        now = asyncio.get_running_loop().time()
        try:
            found = await self._upstream.manage("GET", f"/models/{replica.name}/{replica.version}")
        except UpstreamError as error:
            self._unanswered = self._unanswered + 1 if error.status == 503 else 0
            # What is only just being registered is not lost.
            is_new = replica.state is State.STARTING and not replica.description
            if error.status == 404 and replica.state is not State.DRAINING and not is_new:
                replica.lose(now)
            return
        self._unanswered = 0
        if replica not in self._registry.of(replica.model, replica.version):
            return  # removed in the meantime
        description = dict(found[0])
        self._registry.version(replica.model, replica.version).description = description
        became_ready = replica.observe(description, now, partial(self._on_loss, replica))
        if replica.state is State.READY:
            await self._learn(replica, now)
        if became_ready:
            self._registry.version(replica.model, replica.version).was_ready = True
            self.was_ready = True
            self._changes.news.set()

    async def see_ready(self, replica: Replica, version: Version, seconds: float) -> None:
        """Wait until a replica that TorchServe says it has loaded takes requests.

        TorchServe answers a moment before it calls the worker READY itself, and where another look
        was first to see that, it may still be asking the handler what the model takes.

        Raises:
            UpstreamError: Its worker ended, or was not ready in time.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            await self.look(replica)
            if version.was_ready and replica.state is not State.STARTING:
                return
            # With TorchServe itself: who starts that anew waits until this change has ended.
            if replica.state is State.LOST:
                raise UpstreamError(503, f"{replica.name}: its worker ended")
            if loop.time() > deadline:
                raise UpstreamError(500, f"{replica.name}: its worker is not ready")
            await asyncio.sleep(FAST_POLL_SECONDS / 4)

    def _on_loss(self, replica: Replica) -> None:
        self._reviver.note(replica)
        self._changes.hurry.set()

    async def _learn(self, replica: Replica, now: float) -> None:
        """Ask the handler what it has loaded: its slots, its context, its checkpoint.

        It is asked until it answers, less and less often: other kinds of models never do.
        """
        version = self._registry.version(replica.model, replica.version)
        if version.card is not None or not replica.may_be_asked(now):
            return
        found = await self._upstream.ask(replica.name, replica.version, "v1/models")
        cards = found.get("data") if isinstance(found, dict) else None
        if cards:
            version.card = card = {**cards[0], "id": replica.model}
            logger.info(
                "%s: %s, cache %s, engine %s %s",
                *(replica.name, card.get("precision"), card.get("cache")),
                *(card.get("engine"), card.get("isa", "")),
            )

    async def _replace(self, replica: Replica) -> None:
        """Register anew a replica whose worker does not come back."""
        async with self._changes.lock:
            is_there = replica in self._registry.of(replica.model, replica.version)
            if not is_there or replica.state is not State.LOST:
                return
            logger.warning("%s: its worker does not come back; replacing it", replica.name)
            version = self._registry.version(replica.model, replica.version)
            try:
                await self._loader.load(replica, version)
            except UpstreamError as error:
                logger.warning("%s: could not be replaced: %s", replica.name, error.message)
                await self._loader.give_up(replica)

    def lose_all(self) -> None:
        """Note that TorchServe itself is gone."""
        self._unanswered = 0
        now = asyncio.get_running_loop().time()
        for replica in self._registry.all():
            replica.lose(now)


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    """Refuse what takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Unavailable(
            "The model is not ready; try again soon", code="not_ready", retry_after=5
        ) from None
