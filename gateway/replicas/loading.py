"""Has TorchServe load and unload replicas, each an archive registered under a name of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from gateway.archives.signature import BadSignature, verify
from gateway.replicas.registry import Registry, Version
from gateway.replicas.replica import Replica
from gateway.settings import Settings
from gateway.torchserve.client import MANAGEMENT_SECONDS, Unsigned, Upstream, UpstreamError

logger = logging.getLogger("gateway.replicas")

# A TorchServe that is itself about to end answers no more: nobody is to wait for that.
RESTART_SECONDS = 2.0


class Loader:
    """Registers replicas with TorchServe, and has it forget them."""

    def __init__(self, upstream: Upstream, registry: Registry, settings: Settings) -> None:
        self._upstream = upstream
        self._registry = registry
        self.start_seconds = settings.start_seconds
        self._store = settings.model_store
        self._public_key = settings.model_public_key_file

    async def load(self, replica: Replica, version: Version) -> None:
        """Have TorchServe register a replica.

        Raises:
            UpstreamError: TorchServe refused it, or did not answer.
        """
        await self._verify(version)
        await self.unload(replica)
        query = {
            "url": version.source or version.archive,
            "model_name": replica.name,
            "initial_workers": "1",
            "synchronous": "true",
            **version.options,
        }
        await self._upstream.manage("POST", "/models", query, seconds=self.start_seconds)

    async def give_up(self, replica: Replica) -> None:
        """Have nothing left of a replica that could not be loaded, as far as TorchServe answers."""
        with contextlib.suppress(UpstreamError):
            await self.unload(replica)

    async def _verify(self, version: Version) -> None:
        """Look at an archive's signature; TorchServe's start has, where that unpacked it."""
        if not version.source:
            path = self._store / version.archive
            try:
                await asyncio.to_thread(verify, path, self._public_key)
            except BadSignature as fault:
                raise Unsigned(str(fault)) from None

    async def restart(self, replica: Replica) -> None:
        """Have TorchServe forget a worker that has ended, and start another.

        Raises:
            UpstreamError: TorchServe refused it, or did not answer.
        """
        path = f"/models/{replica.name}/{replica.version}"
        for count in ("0", "1"):
            query = {"min_worker": count, "max_worker": count}
            await self._upstream.manage("PUT", path, query, seconds=RESTART_SECONDS)

    async def unload(self, replica: Replica, seconds: float = MANAGEMENT_SECONDS) -> None:
        """Have TorchServe forget a replica, if it knows it.

        Raises:
            UpstreamError: TorchServe refused it, or did not answer.
        """
        for other in self._registry.all():
            if other.name == replica.name and other.version != replica.version:
                # It keeps the version that is its own default, which says nothing here.
                await self._manage_known("PUT", other, "/set-default")
        await self._manage_known("DELETE", replica, seconds=seconds)

    async def unload_unwanted(self, model: str, version: str) -> None:
        """Have a TorchServe that was started anew forget what it was started with."""
        try:
            await self.unload(Replica(model, version, 1), self.start_seconds)
        except UpstreamError as error:
            logger.warning("%s %s could not be unloaded: %s", model, version, error.message)

    async def _manage_known(
        self, method: str, replica: Replica, verb: str = "", seconds: float = MANAGEMENT_SECONDS
    ) -> Any:
        try:
            path = f"/models/{replica.name}/{replica.version}{verb}"
            return await self._upstream.manage(method, path, seconds=seconds)
        except UpstreamError as error:
            if error.status != 404:
                raise
