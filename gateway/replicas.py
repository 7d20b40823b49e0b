"""All replicas: chooses one for a request, adds and drains them, and keeps them alive.

TorchServe can not run two workers of one model in continuous batching, so "N workers" is the same
archive registered N times; the outside sees one model with N workers.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from typing import Any

from gateway.errors import Conflict, NotFound, Unavailable
from gateway.live import Abort
from gateway.replica import Replica, State, replica_name
from gateway.settings import Settings
from gateway.upstream import Upstream, UpstreamError

logger = logging.getLogger("gateway.replicas")

DEFAULT_SLOTS = 32
FAST_POLL_SECONDS = 0.2
POLL_SECONDS = 2.0
# A worker that is lost for so long is not awaited any more: its replica is registered anew.
REPLACE_SECONDS = 45.0
REMEMBERED_PREFIXES = 2048


class Replicas:
    """The replicas of every model and version."""

    def __init__(self, settings: Settings, upstream: Upstream) -> None:
        self._settings = settings
        self._upstream = upstream
        self._pools: dict[tuple[str, str], list[Replica]] = {}
        self._defaults: dict[str, str] = {}
        self._cards: dict[tuple[str, str], dict[str, Any]] = {}
        self._prefixes: OrderedDict[tuple[str, str, str], int] = OrderedDict()
        self._changing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()
        self._replacing: set[asyncio.Task[None]] = set()
        self.was_ready = False

    # What is there

    @property
    def models(self) -> list[str]:
        """Names of the models."""
        return sorted(self._defaults)

    def versions(self, model: str) -> list[str]:
        """Versions of a model."""
        return sorted(version for name, version in self._pools if name == model)

    def resolve(self, model: str, version: str | None = None) -> str:
        """Return the version that serves a model.

        Raises:
            NotFound: There is no such model or version.
        """
        if model not in self._defaults:
            known = ", ".join(f"`{name}`" for name in self.models) or "none yet"
            raise NotFound(
                f"There is no model `{model[:64]}`; loaded: {known}",
                param="model",
                code="model_not_found",
            )
        if version is None:
            return self._defaults[model]
        if (model, version) not in self._pools:
            raise NotFound(
                f"Model `{model}` has no version `{version[:32]}`; "
                f"loaded: {', '.join(self.versions(model))}",
                param="model",
                code="model_not_found",
            )
        return version

    def of(self, model: str, version: str) -> list[Replica]:
        """Return the replicas of a version."""
        return self._pools.get((model, version), [])

    def all(self) -> list[Replica]:
        """Return every replica."""
        return [replica for pool in self._pools.values() for replica in pool]

    def is_ready(self) -> bool:
        """Tell whether the service's own model can answer."""
        version = self._defaults.get(self._settings.model_name)
        return version is not None and any(
            replica.state is State.READY for replica in self.of(self._settings.model_name, version)
        )

    def capacity(self) -> int:
        """Return how many sequences can run at once."""
        return sum(
            self.slots(replica) for replica in self.all() if replica.state is not State.DRAINING
        )

    def slots(self, replica: Replica) -> int:
        """Return how many sequences one replica runs at once."""
        card = self._cards.get((replica.model, replica.version), {})
        return int(card.get("limits", {}).get("slots", DEFAULT_SLOTS))

    def card(self, model: str, version: str) -> dict[str, Any] | None:
        """Return what the handler says of a version, or None for other kinds of models."""
        return self._cards.get((model, version))

    # Choosing

    def choose(self, model: str, version: str, prefix: str) -> Replica | None:
        """Return the ready replica with the fewest live sequences, or None.

        Of several the one that last had the same prefix: its key-value cache may still hold it.
        """
        ready = [replica for replica in self.of(model, version) if replica.state is State.READY]
        if not ready:
            return None
        if len(ready) == 1:
            return ready[0]
        fewest = min(replica.live for replica in ready)
        best = [replica for replica in ready if replica.live == fewest]
        chosen = best[0]
        if prefix:
            key = (model, version, prefix)
            warm = self._prefixes.pop(key, 0)
            chosen = next((replica for replica in best if replica.number == warm), chosen)
            self._prefixes[key] = chosen.number
            if len(self._prefixes) > REMEMBERED_PREFIXES:
                self._prefixes.popitem(last=False)
        return chosen

    async def wait_for(self, model: str, version: str, prefix: str, seconds: float) -> Replica:
        """Return a replica, waiting for one that is coming back.

        Raises:
            Unavailable: None came in time.
        """
        try:
            async with asyncio.timeout(seconds):
                while True:
                    replica = self.choose(model, version, prefix)
                    if replica is not None:
                        return replica
                    self._hurry.set()
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise Unavailable(
                "The model is not ready; try again soon", code="not_ready", retry_after=5
            ) from None

    # Keeping alive

    async def keep(self) -> None:
        """Follow the state of every replica for ever."""
        while True:
            await self.refresh()
            ready = all(replica.state is State.READY for replica in self.all()) and self._pools
            self._hurry.clear()
            try:
                async with asyncio.timeout(POLL_SECONDS if ready else FAST_POLL_SECONDS):
                    await self._hurry.wait()
                    await asyncio.sleep(FAST_POLL_SECONDS / 4)
            except TimeoutError:
                pass

    async def refresh(self) -> None:
        """Ask TorchServe once how every replica is."""
        now = asyncio.get_running_loop().time()
        for replica in self.all():
            try:
                description = await self._describe(replica.name, replica.version)
            except UpstreamError as error:
                if error.status == 404 and replica.state is not State.DRAINING:
                    replica.lose(now)
                continue
            if replica.observe(description, now, self._hurry.set):
                await self._learn(replica)
                self.was_ready = True
                self._changed.set()
        for replica in self.all():
            overdue = replica.lost_at is not None and now - replica.lost_at > REPLACE_SECONDS
            if overdue and replica.state is State.LOST and not self._changing.locked():
                replica.lost_at = now
                task = asyncio.create_task(self._replace(replica))
                self._replacing.add(task)
                task.add_done_callback(self._replacing.discard)

    async def _learn(self, replica: Replica) -> None:
        """Ask the handler once what it has loaded: its slots, its context, its checkpoint."""
        key = (replica.model, replica.version)
        if key in self._cards:
            return
        found = await self._upstream.ask(replica.name, replica.version, "v1/models")
        cards = found.get("data") if isinstance(found, dict) else None
        if cards:
            self._cards[key] = {**cards[0], "id": replica.model}

    def lose_all(self) -> None:
        """Note that TorchServe itself is gone."""
        now = asyncio.get_running_loop().time()
        for replica in self.all():
            replica.lose(now)

    def abort_all(self, cause: Abort) -> int:
        """End every live request; return how many there were."""
        live = [request for replica in self.all() for request in replica.requests]
        for request in live:
            request.abort(cause)
        return len(live)

    def abort_stalled(self, seconds: float) -> None:
        """End the requests that TorchServe has been silent about for too long."""
        for replica in self.all():
            for request in list(replica.requests):
                if request.is_stalled(seconds):
                    request.abort(Abort.STALLED)

    # Changing

    async def adopt(self) -> None:
        """Take over what a TorchServe that was just started has loaded, and restore the rest."""
        async with self._changing:
            known = [(r.model, r.version, r.number, r.archive) for r in self.all()]
            defaults = dict(self._defaults)
            if not known:
                await self._adopt_loaded(self._settings.model_name)
                missing = range(2, self._settings.replicas + 1)
                model = self._settings.model_name
                version = self._defaults[model]
                archive = self.of(model, version)[0].archive
                known = [(model, version, number, archive) for number in missing]
            for model, version, number, archive in known:
                await self._restore(model, version, number, archive)
            for model, version in defaults.items():
                if len(self.versions(model)) > 1:
                    await self._upstream.manage("PUT", f"/models/{model}/{version}/set-default")
        self._hurry.set()

    async def scale(self, model: str, version: str, count: int) -> None:
        """Bring a version to `count` replicas; what is removed is drained first."""
        async with self._changing:
            pool = self.of(model, version)
            while len(pool) < count:
                taken = {replica.number for replica in pool}
                number = next(n for n in range(1, count + 1) if n not in taken)
                await self._add(model, version, number, pool[0].archive)
            surplus = sorted(pool, key=lambda replica: replica.number)[count:]
            for replica in surplus:
                replica.state = State.DRAINING
            for replica in reversed(surplus):
                await self._remove(replica)

    async def register(self, archive: str, model: str | None) -> tuple[str, str]:
        """Register an archive of the model store; return the model's name and version."""
        async with self._changing:
            query = {"url": archive, "initial_workers": "1", "synchronous": "true"}
            if model:
                query["model_name"] = model
            before = {r.name for r in self.all()}
            await self._upstream.manage(
                "POST", "/models", query, seconds=self._settings.start_seconds
            )
            name = model or await self._newly_loaded(archive, before)
            for description in await self._describe_all(name):
                version = str(description["modelVersion"])
                if (name, version) not in self._pools:
                    self._pools[name, version] = [Replica(name, version, 1, archive)]
                    added = version
            self._defaults.setdefault(name, added)
        self._hurry.set()
        return name, added

    async def unregister(self, model: str, version: str) -> None:
        """Drain a version and take it out."""
        if model == self._settings.model_name and len(self.versions(model)) == 1:
            raise Conflict(f"`{model}` is the service's own model and stays", code="own_model")
        if len(self.versions(model)) > 1 and self._defaults[model] == version:
            raise Conflict(
                f"Version {version} is the default of `{model}`; set another first",
                code="default_version",
            )
        async with self._changing:
            pool = list(self.of(model, version))
            for replica in pool:
                replica.state = State.DRAINING
            for replica in reversed(pool):
                await self._remove(replica)
            self._pools.pop((model, version), None)
            self._cards.pop((model, version), None)
            if not self.versions(model):
                self._defaults.pop(model, None)

    async def set_default(self, model: str, version: str) -> None:
        """Let `version` serve requests that name none."""
        async with self._changing:
            await self._upstream.manage("PUT", f"/models/{model}/{version}/set-default")
            self._defaults[model] = version

    async def _describe(self, name: str, version: str) -> dict[str, Any]:
        found = await self._upstream.manage("GET", f"/models/{name}/{version}")
        return dict(found[0])

    async def _describe_all(self, name: str) -> list[dict[str, Any]]:
        found = await self._upstream.manage("GET", f"/models/{name}/all")
        return [dict(description) for description in found]

    async def _newly_loaded(self, archive: str, before: set[str]) -> str:
        listed = await self._upstream.manage("GET", "/models", {"limit": "1000"})
        names = [
            str(entry["modelName"])
            for entry in listed["models"]
            if entry["modelUrl"] == archive and entry["modelName"] not in before
        ]
        if not names:
            raise Conflict(f"`{archive}` is loaded already", code="loaded_already")
        return names[0]

    async def _adopt_loaded(self, model: str) -> None:
        for description in await self._describe_all(model):
            version = str(description["modelVersion"])
            self._pools[model, version] = [Replica(model, version, 1, description["modelUrl"])]
            self._defaults.setdefault(model, version)

    async def _restore(self, model: str, version: str, number: int, archive: str) -> None:
        """Register a replica that was there before TorchServe was started anew."""
        try:
            await self._describe(replica_name(model, number), version)
        except UpstreamError as error:
            if error.status != 404:
                raise
            await self._add(model, version, number, archive)

    async def _add(self, model: str, version: str, number: int, archive: str) -> None:
        pool = self._pools.setdefault((model, version), [])
        query = {
            "url": archive,
            "model_name": replica_name(model, number),
            "initial_workers": "1",
            "synchronous": "true",
        }
        await self._upstream.manage("POST", "/models", query, seconds=self._settings.start_seconds)
        if all(replica.number != number for replica in pool):
            pool.append(Replica(model, version, number, archive))
        await self.refresh()
        logger.info("%s %s: replica %d is there", model, version, number)

    async def _remove(self, replica: Replica) -> None:
        await replica.wait_idle()
        try:
            await self._upstream.manage("DELETE", f"/models/{replica.name}/{replica.version}")
        except UpstreamError as error:
            if error.status != 404:
                replica.state = State.LOST
                raise
        replica.close()
        pool = self.of(replica.model, replica.version)
        if replica in pool:
            pool.remove(replica)
        logger.info("%s %s: replica %d drained", replica.model, replica.version, replica.number)

    async def _replace(self, replica: Replica) -> None:
        """Register anew a replica whose worker does not come back."""
        logger.warning("%s: its worker does not come back; replacing it", replica.name)
        path = f"/models/{replica.name}/{replica.version}"
        try:
            await self._upstream.manage("DELETE", path)
        except UpstreamError as error:
            if error.status != 404:
                return
        try:
            async with self._changing:
                await self._add(replica.model, replica.version, replica.number, replica.archive)
        except UpstreamError as error:
            logger.warning("%s: could not be replaced: %s", replica.name, error.message)
