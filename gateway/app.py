"""The routes. Each request is judged here (key, rate, size) and handed to who serves it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from starlette.exceptions import HTTPException
from starlette.routing import Route, Router

from gateway import inbound
from gateway.cors import Cors
from gateway.errors import (
    BadRequest,
    GatewayError,
    MethodNotAllowed,
    NotFound,
    Unauthorized,
    Unavailable,
)
from gateway.exchange import ClientGone, Exchange, Receive, Scope, Send
from gateway.health import Health
from gateway.inbound import COMPLETIONS, JSON_TYPE, TEXT_TYPE, Prediction
from gateway.language import foreign_language
from gateway.limits import Budget, RateLimit
from gateway.logs import RequestLog
from gateway.management import NAME, VERSION, Management
from gateway.metrics import Metrics
from gateway.proxy import Proxy
from gateway.replicas import Replicas
from gateway.security import Guard, neighbourhood
from gateway.settings import Settings
from gateway.static import REFERENCE, StaticFiles
from gateway.upstream import Upstream

logger = logging.getLogger("gateway.app")

QUESTIONS = ("v1/tokenize", "v1/detokenize")
API_VERSION = "v1.0.0"
LANGUAGE_ERROR = "lang_det_err"
COMMON_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]

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


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes are made of."""

    settings: Settings
    guard: Guard
    rates: RateLimit
    replicas: Replicas
    proxy: Proxy
    management: Management
    health: Health
    metrics: Metrics
    upstream: Upstream
    requests: RequestLog


class Gateway:
    """The ASGI application."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._cors = Cors(parts.settings)
        self._files = StaticFiles()
        self._reference_files = StaticFiles(REFERENCE)
        self._description = b""
        self._bodies = Budget(parts.settings.max_bodies_bytes)
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
        except ClientGone:
            if not exchange.status:
                exchange.facts["aborted"] = "client_gone"
        except asyncio.CancelledError:  # the server ends and waits no longer
            await self._tell_draining(exchange)
        finally:
            self._bodies.give_back(exchange.body_bytes)
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

    def _find_client(self, exchange: Exchange) -> None:
        address = self._parts.guard.client_address(exchange.headers, exchange.peer)
        exchange.facts["client"] = address

    async def _tell_draining(self, exchange: Exchange) -> None:
        if not exchange.status:
            exchange.closes = True
            error = Unavailable("The service is shutting down", code="draining", retry_after=5)
            await self._tell(exchange, error)

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
            route("/", self._index, "GET"),
            route("/page/{name:path}", self._page, "GET"),
            route(self._settings.route_generate, self._generate, "POST"),
            route("/v1/completions", self._completions, "POST"),
            route("/v1/tokenize", self._tokenize, "POST"),
            route("/v1/detokenize", self._tokenize, "POST"),
            route("/v1/models", self._list_models, "GET"),
            route("/v1/models/{model}", self._list_models, "GET"),
            route("/predictions/{model}", self._predict, "POST", "PUT"),
            route("/predictions/{model}/{rest:path}", self._predict, "POST", "PUT"),
            route("/models", self._manage, "GET", "POST"),
            route(model, self._manage, "GET", "PUT", "DELETE"),
            route(model + "/{version}", self._manage, "GET", "PUT", "DELETE"),
            route(model + "/{version}/{verb}", self._manage, "PUT"),
            route("/health/live", self._parts.health.live, "GET"),
            route("/health/ready", self._parts.health.ready, "GET"),
            route("/health_liveness", self._parts.health.liveness, "GET"),
            route("/metrics", self._metrics, "GET"),
            route("/openapi.json", self._describe, "GET"),
            route("/docs", self._reference, "GET"),
            route("/docs/{name}", self._reference, "GET"),
        ]

    # The page

    async def _index(self, exchange: Exchange) -> None:
        await self._files.serve(exchange, "index.html")

    async def _page(self, exchange: Exchange) -> None:
        await self._files.serve(exchange, exchange.scope["path_params"]["name"])

    async def _reference(self, exchange: Exchange) -> None:
        name = exchange.scope["path_params"].get("name", "index.html")
        await self._reference_files.serve(exchange, name)

    async def _describe(self, exchange: Exchange) -> None:
        if not self._description:
            # pydantic is loaded by this alone, so an idle service does without it.
            from gateway.openapi import describe

            self._description = json.dumps(describe(self._settings), indent=1).encode()
        await exchange.reply(200, self._description)

    # Inference

    async def _admit(self, exchange: Exchange) -> bytes:
        """Judge who asks, how often and how much; return the body."""
        guard, settings = self._parts.guard, self._settings
        key = await self._known(exchange, lambda: guard.for_inference(exchange.headers))
        if self._parts.health.is_draining:
            exchange.closes = True
            raise Unavailable("The service is shutting down", code="draining", retry_after=5)
        address = neighbourhood(exchange.facts["client"])
        await self._parts.rates.hit(f"key {key}" if guard.inference else f"address {address}")
        body = b""
        if exchange.method != "GET":
            body = await exchange.body(
                settings.max_body_bytes, settings.body_seconds, self._bodies.take
            )
        if not self._parts.replicas.was_ready:
            raise Unavailable("The model is starting", code="not_ready", retry_after=5)
        return body

    async def _known(self, exchange: Exchange, judge: Callable[[], str]) -> str:
        """Return the name of who asks; wrong keys of one address are counted, and bounded.

        A right key is served all the same: who sends wrong ones locks nobody out beside them.
        """
        try:
            exchange.facts["key"] = judge()
        except Unauthorized:
            address = neighbourhood(exchange.facts["client"])
            await self._parts.rates.hit(f"failures {address}")
            raise
        return str(exchange.facts["key"])

    async def _generate(self, exchange: Exchange) -> None:
        value = inbound.read_json_object(await self._admit(exchange))
        text = value.get("input")
        if not isinstance(text, str):
            raise BadRequest("`input` must be a text", param="input")
        if self._is_refused(exchange, text, raises=False):
            await _reply_generated(exchange, text, LANGUAGE_ERROR, LANGUAGE_ERROR)
            return
        body = json.dumps({"prompt": text, "max_tokens": self._settings.n_tokens}).encode()
        reply = await self._parts.proxy.fetch(exchange, self._completion(None, None, body))
        if reply is None:
            return
        value = reply.json()
        if reply.status != 200 or not isinstance(value, dict):
            await reply.send(exchange)
            return
        written = value["choices"][0]["text"]
        await _reply_generated(exchange, text, written, text + written)

    async def _completions(self, exchange: Exchange) -> None:
        body = await self._admit(exchange)
        name = inbound.read_json_object(body).get("model")
        await self._write(exchange, self._completion(name, None, body))

    async def _tokenize(self, exchange: Exchange) -> None:
        body = await self._admit(exchange)
        model = self._settings.model_name
        version = self._parts.replicas.resolve(model)
        path = exchange.path.strip("/")
        await self._parts.proxy.serve(exchange, inbound.question(model, version, path, body))

    async def _list_models(self, exchange: Exchange) -> None:
        await self._admit(exchange)
        replicas = self._parts.replicas
        wanted = exchange.scope["path_params"].get("model")
        names = replicas.models if wanted is None else [wanted]
        cards = [replicas.card(name, replicas.resolve(name)) for name in names]
        data = [card for card in cards if card is not None]
        if not data:
            raise Unavailable("The model is starting", code="not_ready", retry_after=2)
        value = {"object": "list", "data": data} if wanted is None else data[0]
        await exchange.reply(200, json.dumps(value, ensure_ascii=False).encode())

    async def _predict(self, exchange: Exchange) -> None:
        name, version, path = _predicted(exchange.scope["path_params"])
        body = await self._admit(exchange)
        version = self._parts.replicas.resolve(name, version)
        content_type = exchange.headers.get("content-type", "")
        if path in QUESTIONS or path == "v1/models":
            prediction = inbound.question(name, version, path, body)
            await self._parts.proxy.serve(exchange, prediction)
            return
        is_text = path == "" and (not content_type or content_type.startswith("text/"))
        if self._parts.replicas.card(name, version) is None and path == "":
            # Another kind of model: its own business.
            kind = TEXT_TYPE if is_text else JSON_TYPE
            await self._write(exchange, Prediction(name, version, "", body, kind))
        elif is_text:
            await self._write_text(exchange, inbound.plain_text(name, version, body))
        else:
            await self._write(exchange, self._completion(name, version, body, path))

    async def _write_text(self, exchange: Exchange, prediction: Prediction) -> None:
        """Answer with the continuation alone."""
        self._is_refused(exchange, prediction.text, raises=True)
        reply = await self._parts.proxy.fetch(exchange, prediction)
        if reply is None:
            return
        value = reply.json()
        if reply.status == 200 and isinstance(value, dict):
            text = value["choices"][0]["text"].encode()
            reply = replace(reply, body=text, content_type=TEXT_TYPE)
        await reply.send(exchange)

    def _completion(
        self, name: Any, version: str | None, body: bytes, path: str = COMPLETIONS
    ) -> Prediction:
        replicas = self._parts.replicas
        name = self._settings.model_name if name is None else name
        if not isinstance(name, str):
            raise BadRequest("`model` must be a text", param="model")
        version = replicas.resolve(name, version)
        card = replicas.card(name, version) or {}
        context = card.get("context_length")
        return inbound.completion(name, version, path, body, self._settings, context)

    async def _write(self, exchange: Exchange, prediction: Prediction) -> None:
        self._is_refused(exchange, prediction.text, raises=True)
        await self._parts.proxy.serve(exchange, prediction)

    def _is_refused(self, exchange: Exchange, text: str, *, raises: bool) -> bool:
        gate = self._settings.language_gate
        language = None if gate == "off" else foreign_language(text)
        if language is None:
            return False
        exchange.facts["language"] = language
        exchange.reply_headers.append((b"x-language-warning", language.encode()))
        if gate == "refuse" and raises:
            raise BadRequest(
                f"The text does not look English (`{language}`); this model writes English",
                param="prompt",
                code=LANGUAGE_ERROR,
            )
        return gate == "refuse"

    # The service itself

    async def _manage(self, exchange: Exchange) -> None:
        await self._known_manager(exchange)
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
        await self._parts.management.serve(exchange, model, version, verb)

    async def _known_manager(self, exchange: Exchange) -> None:
        guard = self._parts.guard
        await self._known(exchange, lambda: guard.for_management(exchange.headers, exchange.peer))

    async def _metrics(self, exchange: Exchange) -> None:
        if self._settings.metrics_access == "key":
            await self._known_manager(exchange)
        text = self._parts.metrics.exposition(await self._parts.upstream.metrics())
        await exchange.reply(200, text, "text/plain; version=0.0.4; charset=utf-8")


async def _no_send(message: Any) -> None:
    raise RuntimeError("replies go through the exchange")


async def _no_route(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotFound("There is no such route")


async def _reply_generated(exchange: Exchange, query: str, generated: str, result: str) -> None:
    body = {"query": query, "generated": generated, "result": result}
    value = {"version": API_VERSION, "body": body}
    await exchange.reply(200, json.dumps(value, ensure_ascii=False).encode())


def _predicted(params: dict[str, str]) -> tuple[str, str | None, str]:
    """Split `/predictions/{model}[/{version}][/v1/...]` into model, version and path."""
    model, rest = params["model"], params.get("rest", "")
    known = ("", COMPLETIONS, "v1/models", *QUESTIONS)
    version: str | None = None
    if rest and rest not in known:
        version, _, rest = rest.partition("/")
        if not VERSION.fullmatch(version):
            raise NotFound("There is no such route")
    ends_in_slash = params.get("rest", "x").endswith("/") or params.get("rest") == ""
    if not NAME.fullmatch(model) or rest not in known or ends_in_slash:
        raise NotFound("There is no such route")
    return model, version, rest
