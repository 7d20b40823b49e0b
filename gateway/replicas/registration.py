"""Registers archives of the model store as versions of models, and unregisters them."""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine, Mapping
from typing import Any

from gateway.errors import Conflict
from gateway.replicas.changes import Changes
from gateway.replicas.loading import Loader
from gateway.replicas.registry import Registry, Version
from gateway.replicas.replica import Replica
from gateway.replicas.scaling import Scaling
from gateway.torchserve.client import UpstreamError


class Registration:
    """Changes which models and versions are loaded."""

    def __init__(
        self, registry: Registry, loader: Loader, scaling: Scaling, changes: Changes
    ) -> None:
        self._registry = registry
        self._loader = loader
        self._scaling = scaling
        self._changes = changes

    def register(
        self,
        archive: str,
        model: str,
        version: str,
        count: int = 1,
        options: Mapping[str, str] | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Add an archive of the model store; what is returned then loads `count` replicas of it.

        The version is there at once: who asks it meanwhile learns that it is loading.

        Raises:
            Conflict: One of this name and version is loaded. What is returned raises UpstreamError
                where TorchServe refuses it; then nothing is left of it.
        """
        self._registry.refuse_if_loaded(model, version)
        made = Version(archive, options or {}, is_loading=count > 0)
        self._registry.add(model, version, made)
        return self._load(model, version, made, count)

    async def _load(self, model: str, version: str, made: Version, count: int) -> None:
        async with self._changes.lock:
            try:
                for number in range(1, count + 1):
                    await self._scaling.add(Replica(model, version, number), made)
            except UpstreamError:
                await self._forget(model, version)
                raise
            finally:
                made.is_loading = False

    async def unregister(self, model: str, version: str, patience: float | None = None) -> None:
        """Drain a version and take it out; `patience` as in `Scaling.scale`.

        Raises:
            GatewayError: It has to stay, or is gone already.
            UpstreamError: TorchServe refused it.
        """
        registry = self._registry
        async with self._changes.lock:
            version = registry.resolve(model, version)
            is_only_one = len(registry.versions(model)) == 1
            if model == registry.own_model and is_only_one:
                raise Conflict(
                    f"`{model}` is the service's own model and cannot be removed", code="own_model"
                )
            if not is_only_one and registry.is_default(model, version):
                raise Conflict(
                    f"Version {version} is the default of `{model}`; set another first",
                    code="default_version",
                )
            await self._scaling.drain(list(registry.of(model, version)), patience)
            registry.remove(model, version)

    async def set_default(self, model: str, version: str) -> None:
        """Let `version` serve requests that name none.

        TorchServe need not know: every request that it gets names a version.
        """
        async with self._changes.lock:
            self._registry.set_default(model, self._registry.resolve(model, version))

    async def _forget(self, model: str, version: str) -> None:
        """Take out a version whose registration failed half way."""
        made = self._registry.remove(model, version)
        for replica in made.replicas if made else ():
            with contextlib.suppress(UpstreamError):
                await self._loader.unload(replica)
            replica.close()
