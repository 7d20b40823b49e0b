"""Keeps one TorchServe running: starts it, follows its workers, starts it again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from gateway.archives.listing import NoSuchArchive, list_archives
from gateway.archives.manifest import read_manifest
from gateway.errors import GatewayError
from gateway.launch.launch import TorchServeError, TorchServeSettings
from gateway.replicas.replicas import Replicas
from gateway.routes.health import Health
from gateway.settings import Settings
from gateway.torchserve.client import Upstream, UpstreamError
from gateway.torchserve.crashes import Crashes
from gateway.torchserve.orphans import reap_orphans
from gateway.torchserve.process import TorchServe
from gateway.torchserve.restarts import GaveUp, RepeatedFailure, Restarts

logger = logging.getLogger("gateway.supervisor")

WATCH_SECONDS = 0.1
STOP_SECONDS = 1.0


class Keeper:
    """The life of TorchServe, from one start to the next."""

    def __init__(
        self,
        settings: Settings,
        torchserve_settings: TorchServeSettings,
        upstream: Upstream,
        replicas: Replicas,
        health: Health,
        crashes: Crashes,
    ) -> None:
        self._settings = settings
        self._torchserve_settings = torchserve_settings
        self._upstream = upstream
        self._registry = replicas.registry
        self._monitor = replicas.monitor
        self._registration = replicas.registration
        self._on_demand = replicas.on_demand
        self._is_listed = False
        self._retired = replicas.retired
        self._health = health
        self._crashes = crashes
        self._torchserve: TorchServe | None = None
        self._repeated = RepeatedFailure(settings.start_failures)
        most, window = settings.max_restarts, settings.restart_window_seconds
        self.restarts = Restarts("TorchServe failed", most, window)
        self._worker_crashes = Restarts("A worker crashed", most, window)

    async def keep(self, announce: Callable[[], None]) -> None:
        """Run TorchServe for ever; `announce` is called whenever it is ready.

        Raises:
            GaveUp: It could not be kept alive.
            TorchServeError: It cannot be started at all.
        """
        while True:
            reason = await self._run(announce)
            self._health.is_serving = False
            self._monitor.lose_all()
            self._judge_start(f"TorchServe does not start: {reason}")
            back_off = self.restarts.fail(reason)
            logger.warning("%s; starting it again in %g s", reason, back_off)
            await asyncio.sleep(back_off)

    def stop(self) -> None:
        """End what runs."""
        if self._torchserve is not None:
            self._torchserve.stop(STOP_SECONDS)

    def _judge_start(self, reason: str) -> None:
        """Give up on a service that has never served and fails in the same way again and again."""
        if not self._monitor.was_ready and self._repeated.note(reason):
            raise GaveUp(reason)

    async def _run(self, announce: Callable[[], None]) -> str:
        """Start TorchServe, serve with it until it ends or is of no use, and return why."""
        torchserve = self._torchserve = TorchServe(self._torchserve_settings)
        try:
            await asyncio.to_thread(torchserve.prepare)  # a large archive takes a while
            folder = torchserve.start()
            self._crashes.look_in(folder)
            self._retired.look_in(folder)
            return torchserve.words.explain(await self._watch(torchserve, announce))
        except TorchServeError as error:
            if not self._monitor.was_ready:
                raise
            return str(error)
        finally:
            await asyncio.to_thread(torchserve.stop, STOP_SECONDS)
            self._torchserve = None

    async def _watch(self, torchserve: TorchServe, announce: Callable[[], None]) -> str:
        """Watch TorchServe until it ends or is of no use, and return what happened."""
        process = torchserve.process
        assert process is not None
        following = asyncio.create_task(self._follow(announce))
        # Counted in looks, not by the clock: a platform may freeze all of us for any time.
        without_worker = 0.0
        try:
            while process.poll() is None:
                await asyncio.sleep(WATCH_SECONDS)
                reap_orphans(process.pid)
                for worker, words in self._crashes.take_new():
                    self._registry.hold_back(worker, self._worker_crashes.fail(words))
                for words in torchserve.words.take_failures():
                    self._judge_start(f"the model does not start: {words}")
                if following.done():
                    following.result()
                if self._registry.is_ready() or self._registry.is_at_rest():
                    without_worker = 0.0
                    self.restarts.serve(WATCH_SECONDS)
                    self._worker_crashes.serve(WATCH_SECONDS)
                else:
                    without_worker += WATCH_SECONDS
                if without_worker > self._settings.start_seconds:
                    return f"No worker was ready in {self._settings.start_seconds:g} s"
                if self._monitor.is_silent:
                    return "TorchServe does not answer"
            await asyncio.to_thread(torchserve.words.wait_for_end)
            return f"TorchServe ended (status {process.returncode})"
        except UpstreamError as error:
            return f"TorchServe is not working: {error.message}"
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self, announce: Callable[[], None]) -> None:
        """Take over what TorchServe has loaded, then follow its workers for ever."""
        await self._wait_for_model()
        await self._monitor.adopt(self._settings.replicas, self._settings.model_archive)
        await self._list_archives()
        self._health.is_serving = True
        keeping = asyncio.gather(self._monitor.keep(), self._on_demand.keep())
        try:
            while not self._health.is_ready:
                await asyncio.sleep(WATCH_SECONDS / 2)
            announce()
            await self._load_fetched()
            await keeping
        finally:
            keeping.cancel()
            # Else what it ended by would be told behind the words of who failed.
            await asyncio.gather(keeping, return_exceptions=True)

    async def _wait_for_model(self) -> None:
        """Wait until TorchServe answers, with the service's own model loaded."""
        while True:
            try:
                await self._upstream.manage("GET", f"/models/{self._settings.model_name}")
                return
            except UpstreamError as error:
                if error.status == 404:  # it loads before it listens: the model never comes
                    raise UpstreamError(404, "it has not loaded the model") from None
                if error.status != 503:
                    raise
                await asyncio.sleep(WATCH_SECONDS)

    async def _list_archives(self) -> None:
        """Have what MODEL_ARCHIVES names be known, once."""
        settings = self._settings
        if not settings.model_archives or self._is_listed:
            return
        store, names, own = settings.model_store, settings.model_archives, settings.model_archive
        found = list_archives(store, names, own, settings.archive_bounds)
        try:
            self._on_demand.know(await asyncio.to_thread(list, found))
        except NoSuchArchive as fault:
            raise TorchServeError(f"MODEL_ARCHIVES: {fault}") from None
        self._is_listed = True

    async def _load_fetched(self) -> None:
        """Register what MODEL_URLS names beside the service's own archive, once."""
        settings = self._settings
        for source, _ in settings.pinned_sources:
            path = settings.model_store / source.file_name
            if source.file_name == settings.model_archive:
                continue
            try:
                found = await asyncio.to_thread(read_manifest, path, settings.archive_bounds)
                if (found.model, found.version) not in self._registry:
                    await self._registration.register(path.name, found.model, found.version)
            except (GatewayError, UpstreamError) as error:
                logger.error("%s of MODEL_URLS is not served: %s", path.name, error.message)
