"""Keeps the replicas alive, adds and drains them.

TorchServe can not run two workers of one model in continuous batching, so "N workers" is the same
archive registered N times; the outside sees one model with N workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from gateway.errors import Conflict, Unavailable
from gateway.replicas.in_flight import Abort
from gateway.replicas.registry import Pools, Version
from gateway.replicas.replica import Replica, State
from gateway.settings import Settings
from gateway.torchserve.client import MANAGEMENT_SECONDS, Upstream, UpstreamError

logger = logging.getLogger("gateway.replicas")

FAST_POLL_SECONDS = 0.2
POLL_SECONDS = 2.0
# A worker that is lost for so long is not awaited any more: its replica is registered anew.
REPLACE_SECONDS = 45.0
# So many questions in a row (of up to 10 s each) that TorchServe leaves without an answer mean that
# it hangs. Counted, not timed: a platform may freeze us and TorchServe together for any time.
SILENT_QUESTIONS = 3


class Replicas(Pools):
    """The replicas of every model and version, kept as they should be."""

    def __init__(self, settings: Settings, upstream: Upstream) -> None:
        super().__init__(settings)
        self._upstream = upstream
        self._changing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()
        self._replacing: set[asyncio.Task[None]] = set()
        self._unanswered = 0
        self.was_ready = False

    @property
    def is_silent(self) -> bool:
        """Tell whether TorchServe's management has stopped to answer.

        Not while a change is under way: unpacking a large archive may hold its answers up, and a
        change ends by itself in START_SECONDS.
        """
        return self._unanswered >= SILENT_QUESTIONS and not self._changing.locked()

    async def wait_for(self, model: str, version: str, prefix: str, seconds: float) -> Replica:
        """Return a replica, waiting for one that is coming back.

        Raises:
            Unavailable: None came in time, or none is wanted.
        """
        try:
            async with asyncio.timeout(seconds):
                while True:
                    replica = self.choose(model, version, prefix)
                    if replica is not None:
                        return replica
                    self.refuse_at_rest(model, version)
                    self._hurry.set()
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise Unavailable(
                "The model is not ready; try again soon", code="not_ready", retry_after=5
            ) from None

    # Keeping alive

    async def adopt(self) -> None:
        """Take over what a TorchServe that was just started has loaded.

        What it lacks (replicas, models that were registered) is lost and overdue, so that `keep`
        registers it anew, one after the other, while the service's own model serves already.
        """
        model = self._settings.model_name
        found = await self._upstream.manage("GET", f"/models/{model}/all")
        loaded = {(model, str(entry["modelVersion"])): str(entry["modelUrl"]) for entry in found}
        async with self._changing:
            if model not in self._defaults:
                for (_, version), archive in loaded.items():
                    numbers = range(1, self._settings.replicas + 1)
                    replicas = [Replica(model, version, number) for number in numbers]
                    self._versions[model, version] = Version(archive, replicas=replicas)
                    self._defaults.setdefault(model, version)
            for replica in self.all():
                replica.begin(
                    is_loaded=replica.number == 1 and (replica.model, replica.version) in loaded
                )
            for _, version in loaded:
                if not self.of(model, version):
                    await self._unload_unwanted(model, version)
        self._hurry.set()

    async def keep(self) -> None:
        """Follow the state of every replica for ever."""
        while True:
            await self.refresh()
            ready = all(replica.state is State.READY for replica in self.all()) and self._versions
            self._hurry.clear()
            try:
                async with asyncio.timeout(POLL_SECONDS if ready else FAST_POLL_SECONDS):
                    await self._hurry.wait()
                    await asyncio.sleep(FAST_POLL_SECONDS / 4)
            except TimeoutError:
                pass

    async def refresh(self) -> None:
        """Ask TorchServe once how every replica is; what is lost for too long is replaced."""
        for replica in self.all():
            await self._look(replica)
        now = asyncio.get_running_loop().time()
        for replica in self.all():
            overdue = replica.lost_at is not None and now - replica.lost_at > REPLACE_SECONDS
            if overdue and replica.state is State.LOST and not self._changing.locked():
                replica.lost_at = now
                task = asyncio.create_task(self._replace(replica))
                self._replacing.add(task)
                task.add_done_callback(self._replacing.discard)

    async def _look(self, replica: Replica) -> None:
        now = asyncio.get_running_loop().time()
        try:
            found = await self._upstream.manage("GET", f"/models/{replica.name}/{replica.version}")
        except UpstreamError as error:
            self._unanswered = self._unanswered + 1 if error.status == 503 else 0
            if error.status == 404 and replica.state is not State.DRAINING:
                replica.lose(now)
            return
        self._unanswered = 0
        if replica not in self.of(replica.model, replica.version):
            return  # removed in the meantime
        self.version(replica.model, replica.version).description = dict(found[0])
        became_ready = replica.observe(dict(found[0]), now, self._hurry.set)
        if replica.state is State.READY:
            await self._learn(replica, now)
        if became_ready:
            self.was_ready = True
            self._changed.set()

    async def _learn(self, replica: Replica, now: float) -> None:
        """Ask the handler what it has loaded: its slots, its context, its checkpoint.

        It is asked until it tells, less and less often: other kinds of models never do.
        """
        version = self.version(replica.model, replica.version)
        if version.card is not None or not replica.may_be_asked(now):
            return
        found = await self._upstream.ask(replica.name, replica.version, "v1/models")
        cards = found.get("data") if isinstance(found, dict) else None
        if cards:
            version.card = {**cards[0], "id": replica.model}

    async def _replace(self, replica: Replica) -> None:
        """Register anew a replica whose worker does not come back."""
        async with self._changing:
            is_there = replica in self.of(replica.model, replica.version)
            if not is_there or replica.state is not State.LOST:
                return
            logger.warning("%s: its worker does not come back; replacing it", replica.name)
            try:
                await self._load(replica, self.version(replica.model, replica.version))
            except UpstreamError as error:
                logger.warning("%s: could not be replaced: %s", replica.name, error.message)

    def lose_all(self) -> None:
        """Note that TorchServe itself is gone."""
        self._unanswered = 0
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

    # Changing. What is asked for is judged inside the lock: it may have waited there for long.

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
            most: As `least` if not given.
            patience: Seconds that what is removed has to end what it writes; None is for ever.

        Raises:
            NotFound: It was removed in the meantime.
            UpstreamError: TorchServe refused it.
        """
        async with self._changing:
            pool = self.of(model, self.resolve(model, version))
            count = min(max(len(pool), least), least if most is None else most)
            while len(pool) < count:
                taken = {replica.number for replica in pool}
                number = next(n for n in range(1, count + 1) if n not in taken)
                await self._add(Replica(model, version, number), self.version(model, version))
            surplus = sorted(pool, key=lambda replica: replica.number)[count:]
            await self._drain(surplus, patience)
            self._changed.set()  # whoever waits for a worker is told that none will come
            return count

    async def register(
        self,
        archive: str,
        model: str,
        version: str,
        count: int = 1,
        options: Mapping[str, str] | None = None,
    ) -> None:
        """Register an archive of the model store, with `count` replicas.

        Raises:
            Conflict: One of this name and version is loaded.
            UpstreamError: TorchServe refused it.
        """
        async with self._changing:
            self.refuse_if_loaded(model, version)
            made = Version(archive, options or {})
            try:
                for number in range(1, count + 1):
                    await self._add(Replica(model, version, number), made)
            except UpstreamError:
                await self._forget(model, version)
                raise
            self._versions[model, version] = made
            self._defaults.setdefault(model, version)

    def refuse_at_rest(self, model: str, version: str) -> None:
        """Raise Unavailable where a version was scaled to no workers."""
        if not self.of(model, self.resolve(model, version)):
            raise Unavailable(
                f"`{model}` was scaled to 0 workers; PUT /models/{model}?min_worker=1 gives it one",
                code="no_workers",
            )

    def refuse_if_loaded(self, model: str, version: str) -> None:
        """Raise Conflict where a version is loaded."""
        if (model, version) in self._versions:
            raise Conflict(f"`{model}` {version} is loaded already", code="loaded_already")

    async def unregister(self, model: str, version: str, patience: float | None = None) -> None:
        """Drain a version and take it out; `patience` as in `scale`.

        Raises:
            GatewayError: It has to stay, or is gone already.
            UpstreamError: TorchServe refused it.
        """
        async with self._changing:
            version = self.resolve(model, version)
            if model == self._settings.model_name and len(self.versions(model)) == 1:
                raise Conflict(f"`{model}` is the service's own model and stays", code="own_model")
            if len(self.versions(model)) > 1 and self._defaults[model] == version:
                raise Conflict(
                    f"Version {version} is the default of `{model}`; set another first",
                    code="default_version",
                )
            await self._drain(list(self.of(model, version)), patience)
            self._versions.pop((model, version), None)
            if not self.versions(model):
                self._defaults.pop(model, None)

    async def set_default(self, model: str, version: str) -> None:
        """Let `version` serve requests that name none.

        TorchServe need not know: every request that it gets names a version.
        """
        async with self._changing:
            self._defaults[model] = self.resolve(model, version)

    async def _add(self, replica: Replica, version: Version) -> None:
        await self._load(replica, version)
        version.replicas.append(replica)
        self._versions[replica.model, replica.version] = version
        await self._look(replica)
        logger.info("%s %s: replica %d is there", replica.model, replica.version, replica.number)

    async def _forget(self, model: str, version: str) -> None:
        """Take out a version whose registration failed half way."""
        made = self._versions.pop((model, version), Version(""))
        for replica in made.replicas:
            with contextlib.suppress(UpstreamError):
                await self._unload(replica)
            replica.close()

    async def _unload_unwanted(self, model: str, version: str) -> None:
        """Have a TorchServe that was started anew forget what it was started with."""
        try:
            await self._unload(Replica(model, version, 1), self._settings.start_seconds)
        except UpstreamError as error:
            logger.warning("%s %s stays in memory: %s", model, version, error.message)

    async def _drain(self, replicas: list[Replica], patience: float | None) -> None:
        """Take replicas out, once what they are writing is written; what fails leaves them in."""
        for replica in replicas:
            replica.state = State.DRAINING
        try:
            for replica in reversed(replicas):
                await replica.empty(patience)
                await self._unload(replica)
                replica.close()
                self.of(replica.model, replica.version).remove(replica)
                logger.info("%s: replica %d drained", replica.model, replica.number)
        finally:
            now = asyncio.get_running_loop().time()
            for replica in self.all():
                if replica in replicas:
                    replica.stay(now)
            self._hurry.set()

    async def _load(self, replica: Replica, version: Version) -> None:
        """Have TorchServe register a replica, and nothing of it left if that fails."""
        await self._unload(replica)
        query = {
            "url": version.archive,
            "model_name": replica.name,
            "initial_workers": "1",
            "synchronous": "true",
            **version.options,
        }
        seconds = self._settings.start_seconds
        try:
            await self._upstream.manage("POST", "/models", query, seconds=seconds)
        except UpstreamError:
            with contextlib.suppress(UpstreamError):
                await self._unload(replica)
            raise

    async def _unload(self, replica: Replica, seconds: float = MANAGEMENT_SECONDS) -> None:
        """Have TorchServe forget a replica, if it knows it."""
        for other in self.all():
            if other.name == replica.name and other.version != replica.version:
                # It keeps the version that is its own default, which says nothing here.
                await self._manage_known("PUT", other, "/set-default")
        await self._manage_known("DELETE", replica, seconds=seconds)

    async def _manage_known(
        self, method: str, replica: Replica, verb: str = "", seconds: float = MANAGEMENT_SECONDS
    ) -> Any:
        try:
            path = f"/models/{replica.name}/{replica.version}{verb}"
            return await self._upstream.manage(method, path, seconds=seconds)
        except UpstreamError as error:
            if error.status != 404:
                raise
