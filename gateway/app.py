"""The ASGI application: finds who serves a request, tells what goes wrong, logs how it ended."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.routing import Route, Router

from gateway.archives.manifest import VERSION
from gateway.errors import (
    Forbidden,
    GatewayError,
    MethodNotAllowed,
    NotFound,
    Unavailable,
    draining,
)
from gateway.parts import Parts
from gateway.routes.admission import Door
from gateway.routes.inference import Inference
from gateway.routes.management import NAME
from gateway.routes.predictions import Predictions
from gateway.web.cors import Cors
from gateway.web.exchange import ClientGone, Exchange, Receive, Scope, Send
from gateway.web.logs import PROBE_PATHS
from gateway.web.static import REFERENCE, StaticFiles

logger = logging.getLogger("gateway.app")

COMMON_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]

EXPLAIN_METHODS = ("GET", "POST", "PUT")

Handler = Callable[[Exchange], Awaitable[None]]


class Endpoint:
    """Makes an ASGI application of a method that takes an exchange."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        exchange: Exchange = scope["exchange"]
        exchange.facts["route"] = self._handler.__name__.strip("_")
        await self._handler(exchange)


class Gateway:
    """The ASGI application."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._cors = Cors(parts.settings)
        self._files = StaticFiles()
        self._reference_files = StaticFiles(REFERENCE)
        self._description = b""
        self._door = Door(parts)
        self._inference = Inference(parts, self._door)
        self._predictions = Predictions(parts, self._door)
        parts.health.on_drain(parts.proxy.drain)
        self._router = Router(self._routes(), redirect_slashes=False, default=_no_route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and log it."""
        if "exchange" in scope:  # the server has refused it already
            return
        exchange = Exchange(scope, receive, send)
        exchange.reply_headers += COMMON_HEADERS
        scope["exchange"] = exchange
        scope["app"] = self  # has the router raise what it would answer in plain text
        self._find_client(exchange)
        try:
            await self._answer(exchange, scope)
            await exchange.wait_for_reader(self._settings.write_seconds)
        except ClientGone:
            if not exchange.status:
                exchange.facts["aborted"] = "client_gone"
        except asyncio.CancelledError:  # the server ends and waits no longer
            await self._tell_draining(exchange)
        finally:
            self.note(exchange)

    def note(self, exchange: Exchange) -> None:
        """Count and log a request that has ended."""
        self._find_client(exchange)
        route = exchange.facts.pop("route", "none")
        self._parts.metrics.answered(route, exchange.status or 499)
        self._parts.requests.write(exchange)

    async def _answer(self, exchange: Exchange, scope: Scope) -> None:
        try:
            if self._cors.apply(exchange):
                await self._cors.preflight(exchange)
                return
            if exchange.connection.is_reserved:
                self._keep_for_health(exchange)
            if exchange.path == "*":  # OPTIONS, of the server as such
                await exchange.reply(204, b"")
                return
            if b"%" in scope["raw_path"]:
                raise NotFound("There is no such route")
            await self._router(scope, exchange.receive, _no_send)
        except GatewayError as error:
            await self._tell(exchange, error)
        except HTTPException as error:
            fault: GatewayError = NotFound("There is no such route")
            if error.status_code == 405:
                allowed = (error.headers or {}).get("Allow", "")
                fault = MethodNotAllowed(f"{exchange.method} is not for this route; use {allowed}")
                exchange.reply_headers.append((b"allow", allowed.encode()))
            await self._tell(exchange, fault)
        except ClientGone:
            raise
        except Exception:
            logger.exception("A request failed")
            await self._tell(exchange, GatewayError("The gateway failed", code="internal_error"))
        finally:
            self._door.leave(exchange)

    def _find_client(self, exchange: Exchange) -> None:
        address = self._parts.guard.client_address(exchange.headers, exchange.peer)
        exchange.facts["client"] = address

    @staticmethod
    def _keep_for_health(exchange: Exchange) -> None:
        exchange.closes = True
        if not exchange.path.startswith(PROBE_PATHS):
            raise Unavailable(
                "All connections are taken; try again in 1 s", code="full", retry_after=1
            )

    async def _tell_draining(self, exchange: Exchange) -> None:
        if not exchange.status:
            exchange.closes = True
            await self._tell(exchange, draining())

    @staticmethod
    async def _tell(exchange: Exchange, error: GatewayError) -> None:
        if exchange.status:  # too late: the reply has begun
            logger.error("A reply failed after it had begun: %s", error.message)
            return
        await exchange.fail(error)

    def _routes(self) -> list[Route]:
        def route(path: str, handler: Handler, *methods: str) -> Route:
            return Route(path, Endpoint(handler), methods=methods)

        model = "/models/{model}"
        return [
            route("/", self._index, "GET", "OPTIONS"),
            route("/page/{name:path}", self._page, "GET"),
            route(self._settings.route_generate, self._inference.generate, "POST"),
            route("/v1/completions", self._inference.completions, "POST"),
            route("/v1/tokenize", self._inference.tokenize, "POST"),
            route("/v1/detokenize", self._inference.tokenize, "POST"),
            route("/v1/models", self._inference.list_models, "GET"),
            route("/v1/models/{model}", self._inference.list_models, "GET"),
            route("/predictions/{model}", self._predictions.predict, "POST", "PUT"),
            route("/predictions/{model}/{rest:path}", self._predictions.predict, "POST", "PUT"),
            route("/models", self._manage, "GET", "POST"),
            route(model, self._manage, "GET", "PUT", "DELETE"),
            route(model + "/", self._manage, "GET", "PUT", "DELETE"),
            route(model + "/{version}", self._manage, "GET", "PUT", "DELETE"),
            route(model + "/{version}/{verb}", self._manage, "PUT"),
            route("/explanations/{model}", self._inference.explain, *EXPLAIN_METHODS),
            route("/explanations/{model}/{version}", self._inference.explain, *EXPLAIN_METHODS),
            route("/ping", self._parts.health.ping, "GET"),
            route("/health/live", self._parts.health.live, "GET"),
            route("/health/ready", self._parts.health.ready, "GET"),
            route("/health_liveness", self._parts.health.liveness, "GET"),
            route("/metrics", self._metrics, "GET"),
            route("/openapi.json", self._describe, "GET"),
            route("/api-description", self._describe, "GET"),
            route("/docs", self._reference, "GET"),
            route("/docs/{name}", self._reference, "GET"),
        ]

    # The page

    async def _index(self, exchange: Exchange) -> None:
        if exchange.method == "OPTIONS":  # TorchServe's question of what there is
            if "access-control-request-method" in exchange.headers:
                raise Forbidden("This origin is not in CORS_ORIGINS", code="origin_not_allowed")
            await self._describe(exchange)
            return
        await self._files.serve(exchange, "index.html")

    async def _page(self, exchange: Exchange) -> None:
        await self._files.serve(exchange, exchange.scope["path_params"]["name"])

    async def _reference(self, exchange: Exchange) -> None:
        name = exchange.scope["path_params"].get("name", "index.html")
        await self._reference_files.serve(exchange, name)

    async def _describe(self, exchange: Exchange) -> None:
        if not self._description:
            # pydantic is loaded by this alone, so an idle service does without it.
            from gateway.openapi.document import describe

            self._description = json.dumps(describe(self._settings), indent=1).encode()
        await exchange.reply(200, self._description)

    # The service itself

    async def _manage(self, exchange: Exchange) -> None:
        body = await self._door.admit_manager(exchange)
        params = exchange.scope["path_params"]
        model, version = params.get("model", ""), params.get("version", "")
        verb = params.get("verb", "")
        is_good = (not model or NAME.fullmatch(model)) and (
            not version or VERSION.fullmatch(version)
        )
        if not is_good or verb not in ("", "set-default"):
            raise NotFound("There is no such route")
        if not self._parts.health.is_serving:
            raise Unavailable("The service is not ready", code="not_ready", retry_after=5)
        await self._parts.management.serve(exchange, model, version, verb, body)

    async def _metrics(self, exchange: Exchange) -> None:
        if self._settings.metrics_access == "key":
            await self._door.admit_manager(exchange)
        query = exchange.scope["query_string"].decode("latin-1")
        wanted = [value for name, value in parse_qsl(query) if name == "name[]"]
        text = self._parts.metrics.exposition(await self._parts.upstream.metrics(), wanted)
        await exchange.reply(200, text, "text/plain; version=0.0.4; charset=utf-8")


async def _no_send(message: Any) -> None:
    raise RuntimeError("replies go through the exchange")


async def _no_route(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotFound("There is no such route")
