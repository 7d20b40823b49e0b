"""TorchServe's management API as far as it is let through: each request is rebuilt, none passed on.

Replicas are one model with N workers to the outside.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable
from pathlib import PurePosixPath
from typing import Any

from gateway.archives.manifest import VERSION, Manifest, read_manifest
from gateway.errors import (
    BadGateway,
    BadRequest,
    Conflict,
    GatewayError,
    NotFound,
    Unavailable,
)
from gateway.replicas.replica import State
from gateway.replicas.replicas import Replicas
from gateway.routes.admission import Admission
from gateway.routes.health import Health
from gateway.routes.model_archives import ModelArchives
from gateway.routes.parameters import WITHOUT_EFFECT, Parameters, read, read_query
from gateway.settings import Settings
from gateway.torchserve.client import Unsigned, UpstreamError
from gateway.web.exchange import Exchange
from handler import model_name

logger = logging.getLogger("gateway.management")

LONGEST_SECONDS = 86_400
# Seconds; an archive with a configuration file, which has defaults for both, says them itself.
TIMEOUTS = ("response_timeout", "startup_timeout")
REGISTER = ("url", "sha256", "model_name", "handler", "initial_workers", "synchronous", *TIMEOUTS)
SCALE = ("min_worker", "max_worker", "number_gpu", "synchronous", "timeout", "model_version")
# Of a model, what OpenAI's clients read of it and nobody else.
OF_OPENAI = ("id", "object", "created", "owned_by", "examples")
Answer = tuple[int, Any]


class Management:
    """List, describe, register, scale, set default, unregister."""

    def __init__(
        self, settings: Settings, admission: Admission, replicas: Replicas, health: Health
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._registry = replicas.registry
        self._scaling = replicas.scaling
        self._registration = replicas.registration
        self._health = health
        self._archives = ModelArchives(settings)
        self._background: set[asyncio.Task[None]] = set()

    async def manage(self, exchange: Exchange) -> None:
        """Answer `/models...`.

        Raises:
            GatewayError: It is not on the list, not allowed, or TorchServe refused it.
        """
        body = await self._admission.admit_manager(exchange)
        params = exchange.scope["path_params"]
        model, version = params.get("model", ""), params.get("version", "")
        verb = params.get("verb", "")
        is_good = (not model or model_name.NAME.fullmatch(model)) and (
            not version or VERSION.fullmatch(version)
        )
        if not is_good or verb not in ("", "set-default"):
            raise NotFound("There is no such route")
        if not self._health.is_serving:
            raise Unavailable("The service is not ready", code="not_ready", retry_after=5)
        try:
            status, value = await self._answer(exchange, model, version, verb, body)
        except UpstreamError as error:
            raise _translate(error) from None
        await exchange.reply(status, json.dumps(value, indent=2).encode())

    async def _answer(
        self, exchange: Exchange, model: str, version: str, verb: str, body: bytes
    ) -> Answer:
        method = exchange.method
        if verb == "set-default":
            return await self._set_default(model, version, read_query(exchange))
        if method == "POST":
            return await self._register(*read(exchange, body))
        if method == "PUT":
            return await self._scale(model, version, *read(exchange, body))
        query = read_query(exchange)
        if method == "DELETE":
            return await self._unregister(model, version, query)
        return self._describe(model, version, query) if model else self._list(query)

    def _list(self, query: Parameters) -> Answer:
        query.allow("limit", "next_page_token")
        limit = query.whole("limit", 100, 1, 1000)
        start = query.whole("next_page_token", 0, 0, 1_000_000)
        names = self._registry.models
        entries = [
            {"modelName": name, "modelUrl": self._registry.default(name).archive}
            for name in names[start : start + limit]
        ]
        more = {"nextPageToken": str(start + limit)} if start + limit < len(names) else {}
        return 200, {**more, "models": entries}

    def _describe(self, model: str, version: str, query: Parameters) -> Answer:
        query.allow("customized")
        is_customized = query.flag("customized", False)
        if version == "all":
            self._registry.resolve(model)
            versions = self._registry.versions(model)
        else:
            versions = [self._registry.resolve(model, version or None)]
        return 200, [self._merged(model, each, is_customized) for each in versions]

    async def _register(self, asked: Parameters, notes: list[str]) -> Answer:
        asked.allow(*REGISTER, *WITHOUT_EFFECT)
        notes += asked.without_effect()
        count = asked.whole("initial_workers", 1, 0, self._settings.max_replicas)
        waits = asked.flag("synchronous", True)
        name = asked.text("model_name")
        if name is not None and (fault := model_name.find_fault(name)):
            raise BadRequest(f"`model_name` {fault}", param="model_name")
        options = {
            each: str(asked.whole(each, 0, 1, LONGEST_SECONDS))
            for each in TIMEOUTS
            if each in asked
        }
        archive = await self._archives.obtain(asked.text("url") or "", asked.text("sha256"), notes)
        path, bounds = self._settings.model_store / archive, self._settings.archive_bounds
        manifest = await asyncio.to_thread(read_manifest, path, bounds)
        _refuse_other_code(asked.text("handler"), manifest)
        if manifest.has_config:
            reason = "has no effect: the archive's configuration counts"
            notes += [f"`{limit}` {reason}" for limit in options]
        model, version = name or manifest.model, manifest.version
        loading = self._registration.register(archive, model, version, count, options)
        if count and not waits:
            self._run(loading)
            return 202, _status("Processing worker updates...", notes)
        await loading
        done = f'Model "{model}" Version: {version} registered with {count} initial workers'
        if not count:
            done += ". Use scale workers API to add workers for the model."
        return 200, _status(done, notes)

    async def _scale(self, model: str, version: str, asked: Parameters, notes: list[str]) -> Answer:
        asked.allow(*SCALE)
        notes += asked.without_effect()
        version = self._registry.resolve(model, version or asked.text("model_version"))
        least = asked.whole("min_worker", 1, 0, self._settings.max_replicas)
        most = asked.whole("max_worker", least, least, 10_000)
        patience, waits = _patience(asked), asked.flag("synchronous", False)
        scaling = self._scaling.scale(model, version, least, most, patience)
        if waits:
            count = await scaling
            return 200, _status(f"Workers scaled to {count} for model: {model}", notes)
        self._run(scaling)
        return 202, _status("Processing worker updates...", notes)

    async def _set_default(self, model: str, version: str, query: Parameters) -> Answer:
        query.allow()
        version = self._registry.resolve(model, version)
        await self._registration.set_default(model, version)
        return 200, {
            "status": f'Default version successfully updated for model "{model}" to "{version}"'
        }

    async def _unregister(self, model: str, version: str, query: Parameters) -> Answer:
        query.allow("synchronous", "timeout")
        version = self._registry.resolve(model, version or None)
        query.flag("synchronous", True)
        await self._registration.unregister(model, version, _patience(query))
        return 200, {"status": f'Model "{model}" unregistered'}

    def _merged(self, model: str, version: str, is_customized: bool) -> dict[str, Any]:
        """One model with N workers, as TorchServe would describe it."""
        known = self._registry.version(model, version)
        workers = []
        for replica in known.replicas:
            for worker in replica.description.get("workers") or [{"status": replica.state.value}]:
                status = worker.get("status")
                if replica.state is not State.READY and status == "READY":
                    status = replica.state.value
                workers.append(
                    {**worker, "status": status, "replica": replica.name, "live": replica.sequences}
                )
        merged = known.description | {
            "modelName": model,
            "modelVersion": version,
            "modelUrl": known.archive,
            "minWorkers": 0 if known.is_on_demand else len(known.replicas),
            "maxWorkers": self._settings.max_replicas,
            "workers": workers,
        }
        if is_customized:
            card = known.card or {}
            merged["customizedMetadata"] = {
                name: value for name, value in card.items() if name not in OF_OPENAI
            }
        return merged

    def _run(self, work: Any) -> None:
        task = asyncio.create_task(self._logged(work))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    @staticmethod
    async def _logged(work: Awaitable[Any]) -> None:
        try:
            await work
        except (UpstreamError, GatewayError) as error:
            logger.error("A change of workers failed: %s", error.message)


def _status(text: str, notes: list[str]) -> dict[str, str]:
    """Return what management says of a change, and what it has to say besides."""
    return {"status": text, "note": "; ".join(notes)} if notes else {"status": text}


def _patience(asked: Parameters) -> float | None:
    """Return how long sequences may take to end where workers are removed; None is for ever."""
    seconds = asked.whole("timeout", -1, -1, LONGEST_SECONDS)
    return None if seconds < 0 else float(seconds)


def _refuse_other_code(handler: str | None, manifest: Manifest) -> None:
    """Refuse a handler that is not the archive's: its own code alone is run."""
    file, _, function = (handler or "").partition(":")
    is_own = PurePosixPath(file).stem == PurePosixPath(manifest.handler.partition(":")[0]).stem
    if handler is not None and not (is_own and "/" not in file and function in ("", "handle")):
        raise BadRequest(
            f"`handler` must be the archive's own, `{manifest.handler[:64]}`", param="handler"
        )


def _translate(error: UpstreamError) -> BadRequest | Conflict | Unavailable | BadGateway:
    """TorchServe's refusal in our words: its own may hold paths."""
    if isinstance(error, Unsigned):
        return BadRequest(error.message, param="url", code="bad_signature")
    logger.warning("TorchServe refused: %s", error.message)
    if error.status == 409:
        return Conflict("A model with this name and version is already loaded")
    if error.status in (400, 403, 404, 507):
        return BadRequest("TorchServe refused this; its log says why", code="refused")
    if error.status == 503:
        return Unavailable("TorchServe does not answer; try again soon", retry_after=5)
    return BadGateway("TorchServe could not do this; its log says why", code="torchserve_failed")
