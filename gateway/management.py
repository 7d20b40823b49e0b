"""TorchServe's management API as far as it is let through: each request is rebuilt, none passed on.

Replicas are one model with N workers to the outside.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from gateway.errors import (
    BadGateway,
    BadRequest,
    Conflict,
    GatewayError,
    NotFound,
    Unavailable,
)
from gateway.exchange import Exchange
from gateway.replica import State
from gateway.replicas import Replicas
from gateway.settings import Settings
from gateway.upstream import UpstreamError

logger = logging.getLogger("gateway.management")

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._]|-(?!-)){0,63}")
MOST_PARAMETERS = 20
ARCHIVE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.mar")


class Management:
    """List, describe, register, scale, set default, unregister."""

    def __init__(self, settings: Settings, replicas: Replicas) -> None:
        self._settings = settings
        self._replicas = replicas
        self._background: set[asyncio.Task[None]] = set()

    async def serve(self, exchange: Exchange, model: str, version: str, verb: str) -> None:
        """Answer one management request.

        Raises:
            GatewayError: It is not on the list, not allowed, or TorchServe refused it.
        """
        query = _query(exchange)
        method = "GET" if exchange.method == "HEAD" else exchange.method
        action: Callable[[], Awaitable[tuple[int, Any]]]
        if not model:
            action = {"GET": lambda: self._list(query), "POST": lambda: self._register(query)}[
                method
            ]
        elif verb == "set-default":
            action = lambda: self._set_default(model, version, query)  # noqa: E731
        else:
            action = {
                "GET": lambda: self._describe(model, version, query),
                "PUT": lambda: self._scale(model, version, query),
                "DELETE": lambda: self._unregister(model, version, query),
            }[method]
        try:
            status, value = await action()
        except UpstreamError as error:
            raise _translate(error) from None
        await exchange.reply(status, json.dumps(value, indent=2).encode())

    async def _list(self, query: dict[str, str]) -> tuple[int, Any]:
        _allow(query, "limit", "next_page_token")
        limit = _whole(query, "limit", 100, 1, 1000)
        start = _whole(query, "next_page_token", 0, 0, 1_000_000)
        names = self._replicas.models
        entries = [
            {"modelName": name, "modelUrl": self._default_replica(name).archive}
            for name in names[start : start + limit]
        ]
        more = {"nextPageToken": str(start + limit)} if start + limit < len(names) else {}
        return 200, {**more, "models": entries}

    async def _describe(self, model: str, version: str, query: dict[str, str]) -> tuple[int, Any]:
        _allow(query)
        if version == "all":
            self._replicas.resolve(model)
            versions = self._replicas.versions(model)
        else:
            versions = [self._replicas.resolve(model, version or None)]
        return 200, [self._merged(model, each) for each in versions]

    async def _register(self, query: dict[str, str]) -> tuple[int, Any]:
        _allow(query, "url", "model_name", "initial_workers", "synchronous")
        archive = query.get("url", "")
        if not ARCHIVE.fullmatch(archive):
            raise BadRequest(
                "`url` must be the name of an archive in the model store, like gpt2.mar",
                param="url",
            )
        if not (self._settings.model_store / archive).exists():
            raise NotFound("The model store has no such archive", param="url")
        name = query.get("model_name")
        if name is not None and not NAME.fullmatch(name):
            raise BadRequest(
                "`model_name` may hold letters, digits, `.`, `_` and single `-`",
                param="model_name",
            )
        workers = _whole(query, "initial_workers", 1, 1, self._settings.max_replicas)
        model, version = await self._replicas.register(archive, name)
        if workers > 1:
            await self._replicas.scale(model, version, workers)
        return 200, {
            "status": f'Model "{model}" Version: {version} registered with {workers} workers'
        }

    async def _scale(self, model: str, version: str, query: dict[str, str]) -> tuple[int, Any]:
        _allow(query, "min_worker", "max_worker", "synchronous", "timeout")
        version = self._replicas.resolve(model, version or None)
        most = self._settings.max_replicas
        count = _whole(query, "min_worker", 1, 1, most)
        _whole(query, "max_worker", count, count, 10_000)
        word = f"{count} worker" + ("s" if count > 1 else "")
        scaling = self._replicas.scale(model, version, count)
        if query.get("synchronous", "false").lower() == "true":
            await scaling
            return 200, {"status": f"Workers scaled to {count} for model: {model}"}
        self._run(scaling)
        return 202, {"status": f"Processing: {model} gets {word}..."}

    async def _set_default(
        self, model: str, version: str, query: dict[str, str]
    ) -> tuple[int, Any]:
        _allow(query)
        version = self._replicas.resolve(model, version)
        await self._replicas.set_default(model, version)
        return 200, {
            "status": f'Default version successfully updated for model "{model}" to "{version}"'
        }

    async def _unregister(self, model: str, version: str, query: dict[str, str]) -> tuple[int, Any]:
        _allow(query, "synchronous", "timeout")
        version = self._replicas.resolve(model, version or None)
        await self._replicas.unregister(model, version)
        return 200, {"status": f'Model "{model}" unregistered'}

    def _default_replica(self, model: str) -> Any:
        return self._replicas.of(model, self._replicas.resolve(model))[0]

    def _merged(self, model: str, version: str) -> dict[str, Any]:
        """One model with N workers, as TorchServe would describe it."""
        replicas = self._replicas.of(model, version)
        merged = dict(replicas[0].description)
        workers = []
        for replica in replicas:
            for worker in replica.description.get("workers", []):
                status = worker.get("status")
                if replica.state is not State.READY and status == "READY":
                    status = replica.state.value
                workers.append(
                    {**worker, "status": status, "replica": replica.name, "live": replica.live}
                )
        merged.update(
            modelName=model,
            modelVersion=version,
            modelUrl=replicas[0].archive,
            minWorkers=len(replicas),
            maxWorkers=self._settings.max_replicas,
            workers=workers,
        )
        return merged

    def _run(self, work: Any) -> None:
        task = asyncio.create_task(self._logged(work))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    @staticmethod
    async def _logged(work: Awaitable[None]) -> None:
        try:
            await work
        except (UpstreamError, GatewayError) as error:
            logger.error("Scaling failed: %s", error.message)


def _query(exchange: Exchange) -> dict[str, str]:
    text = exchange.scope["query_string"].decode("latin-1")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
    except ValueError:
        raise BadRequest(f"At most {MOST_PARAMETERS} parameters may be given") from None
    query = dict(pairs)
    if len(query) != len(pairs):
        raise BadRequest("Each parameter may be given once")
    return query


def _allow(query: dict[str, str], *names: str) -> None:
    for name in query:
        if name not in names:
            allowed = ", ".join(f"`{each}`" for each in names) or "none"
            raise BadRequest(f"Unknown parameter; allowed here: {allowed}", param=name[:64])


def _whole(query: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise BadRequest(f"`{name}` must be a whole number from {least} to {most}", param=name)
    return int(text)


def _translate(error: UpstreamError) -> BadRequest | Conflict | Unavailable | BadGateway:
    """TorchServe's refusal in our words: its own may hold paths."""
    logger.warning("TorchServe refused: %s", error.message)
    if error.status == 409:
        return Conflict("A model of this name and version is loaded already")
    if error.status in (400, 403, 404, 507):
        return BadRequest("TorchServe refused this; its log says why", code="refused")
    if error.status == 503:
        return Unavailable("TorchServe does not answer; try again soon", retry_after=5)
    return BadGateway("TorchServe could not do this; its log says why", code="torchserve_failed")
