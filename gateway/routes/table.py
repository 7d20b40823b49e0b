"""Every route: its name in the metrics, its path, who answers it, and the methods it takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route

from gateway.routes.exposition import Exposition
from gateway.routes.health import Health
from gateway.routes.inference import Inference
from gateway.routes.management import Management
from gateway.routes.pages import Pages
from gateway.routes.predictions import Predictions
from gateway.web.exchange import Exchange, Receive, Scope, Send


class ModelName(Convertor[str]):
    """A model in a path: its name, or the hub's id, which has a slash."""

    regex = "[^/]+(/[^/]+)?"

    def convert(self, value: str) -> str:
        """See Convertor."""
        return value

    def to_string(self, value: str) -> str:
        """See Convertor."""
        return value


register_url_convertor("model", ModelName())
Handler = Callable[[Exchange], Awaitable[None]]

EXPLAIN_METHODS = ("GET", "POST", "PUT")
MODEL_METHODS = ("GET", "PUT", "DELETE")


class Endpoint:
    """Makes an ASGI application of a method that takes an exchange."""

    def __init__(self, name: str, handler: Handler) -> None:
        self._name = name
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        exchange: Exchange = scope["exchange"]
        exchange.record.route = self._name
        await self._handler(exchange)


@dataclass(frozen=True, slots=True)
class Answerers:
    """Who answers the routes."""

    pages: Pages
    inference: Inference
    predictions: Predictions
    management: Management
    health: Health
    exposition: Exposition


def make_routes(plain: str, of: Answerers) -> list[Route]:
    """Return all routes; `plain` is the path of the plain one."""

    def route(name: str, path: str, handler: Handler, *methods: str) -> Route:
        return Route(path, Endpoint(name, handler), methods=methods)

    def api(name: str, path: str, handler: Handler) -> list[Route]:
        """A route of OpenAI's and vLLM's clients, some of which send no `/v1`, or a last slash."""
        paths = [f"{root}/{path}{end}" for root in ("/v1", "") for end in ("", "/")]
        return [route(name, each, handler, "POST") for each in paths]

    inference, predict, manage = of.inference, of.predictions.predict, of.management.manage
    health, model = of.health, "/models/{model}"
    return [
        route("index", "/", of.pages.index, "GET", "OPTIONS"),
        route("page", "/page/{name:path}", of.pages.page, "GET"),
        route("generate", plain, inference.generate, "POST"),
        *api("completions", "completions", inference.completions),
        *api("chats", "chat/completions", inference.chats),
        *api("embeddings", "embeddings", inference.embeddings),
        *api("tokenize", "tokenize", inference.tokenize),
        *api("tokenize", "detokenize", inference.tokenize),
        route("list_models", "/v1/models", inference.list_models, "GET"),
        route("list_models", "/v1/models/", inference.list_models, "GET"),
        route("list_models", "/v1/models/{model:model}", inference.list_models, "GET"),
        route("list_models", "/v1/models/{model:model}/", inference.list_models, "GET"),
        route("predict", "/predictions/{model}", predict, "POST", "PUT"),
        route("predict", "/predictions/{model}/{rest:path}", predict, "POST", "PUT"),
        route("manage", "/models", manage, "GET", "POST"),
        route("manage", model, manage, *MODEL_METHODS),
        route("manage", model + "/", manage, *MODEL_METHODS),
        route("manage", model + "/{version}", manage, *MODEL_METHODS),
        route("manage", model + "/{version}/{verb}", manage, "PUT"),
        route("explain", "/explanations/{model}", inference.explain, *EXPLAIN_METHODS),
        route("explain", "/explanations/{model}/{version}", inference.explain, *EXPLAIN_METHODS),
        route("ping", "/ping", health.ping, "GET"),
        route("health", "/health", health.health, "GET"),
        route("version", "/version", health.version, "GET"),
        route("live", "/health/live", health.live, "GET"),
        route("ready", "/health/ready", health.ready, "GET"),
        route("liveness", "/health_liveness", health.liveness, "GET"),
        route("metrics", "/metrics", of.exposition.metrics, "GET"),
        route("describe", "/openapi.json", of.pages.describe, "GET"),
        route("describe", "/api-description", of.pages.describe, "GET"),
        route("reference", "/docs", of.pages.reference, "GET"),
        route("reference", "/docs/{name}", of.pages.reference, "GET"),
    ]
