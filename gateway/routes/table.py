"""Every route: its name in the metrics, its path, who answers it, and the methods it takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Route

from gateway.routes.exposition import Exposition
from gateway.routes.health import Health
from gateway.routes.inference import Inference
from gateway.routes.kserve import KServe
from gateway.routes.management import Management
from gateway.routes.pages import Pages
from gateway.routes.predictions import Predictions
from gateway.routes.status import Status
from gateway.routes.tgi import Tgi
from gateway.settings import Settings
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
# Takes a name, a path, who answers, and the methods.
MakeRoute = Callable[..., Route]

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
    kserve: KServe
    tgi: Tgi
    management: Management
    health: Health
    exposition: Exposition
    status: Status


class Root:
    """`/` is the page for browsers, and TGI's route for who sends something."""

    def __init__(self, of: Answerers) -> None:
        self._page = Endpoint("index", of.pages.index)
        self._tgi = Endpoint("tgi", of.tgi.root)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        own = self._tgi if scope["method"] == "POST" else self._page
        await own(scope, receive, send)


def make_routes(settings: Settings, of: Answerers) -> list[Route]:
    """Return all routes."""

    def route(name: str, path: str, handler: Handler, *methods: str) -> Route:
        return Route(path, Endpoint(name, handler), methods=methods)

    def api(name: str, path: str, handler: Handler) -> list[Route]:
        """A route of OpenAI's and vLLM's clients, some of which send no `/v1`, or a last slash."""
        paths = [f"{root}/{path}{end}" for root in ("/v1", "") for end in ("", "/")]
        return [route(name, each, handler, "POST") for each in paths]

    inference, predict, manage = of.inference, of.predictions.predict, of.management.manage
    health, model = of.health, "/models/{model}"
    return [
        *_vertex(settings, route, of),
        Route("/", Root(of), methods=("GET", "OPTIONS", "POST")),
        route("status", "/status", of.pages.status, "GET"),
        route("status", "/status/facts", of.status.facts, "GET"),
        route("page", "/page/{name:path}", of.pages.page, "GET"),
        route("generate", settings.route_generate, inference.generate, "POST"),
        *api("completions", "completions", inference.completions),
        *api("chats", "chat/completions", inference.chats),
        *api("embeddings", "embeddings", inference.embeddings),
        *api("tokenize", "tokenize", inference.tokenize),
        *api("tokenize", "detokenize", inference.tokenize),
        route("list_models", "/v1/models", inference.list_models, "GET"),
        route("list_models", "/v1/models/", inference.list_models, "GET"),
        route("list_models", "/v1/models/{model:model}", inference.read_model, "GET"),
        route("list_models", "/v1/models/{model:model}/", inference.read_model, "GET"),
        *_kserve(route, of.kserve),
        route("tgi", "/generate_stream", of.tgi.generate_stream, "POST"),
        route("tgi_info", "/info", of.tgi.info, "GET"),
        route("predict", "/invocations", of.predictions.invoke, "POST", "PUT"),
        route("predict", "/predictions/{model}", predict, "POST", "PUT"),
        route("predict", "/predictions/{model}/{rest:path}", predict, "POST", "PUT"),
        route("describe", "/predictions/{model}", of.predictions.describe, "OPTIONS"),
        route("describe", "/predictions/{model}/{rest}", of.predictions.describe, "OPTIONS"),
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


def _kserve(route: MakeRoute, kserve: KServe) -> list[Route]:
    """V1's predictions, and V2."""
    found = [
        route("kserve_v1", "/v1/models/{model}:predict", kserve.predict, "POST"),
        route("explain", "/v1/models/{model}:explain", kserve.explain, "POST"),
        route("kserve", "/v2", kserve.server, "GET"),
        route("kserve", "/v2/", kserve.server, "GET"),
        route("live", "/v2/health/live", kserve.live, "GET"),
        route("ready", "/v2/health/ready", kserve.ready, "GET"),
    ]
    for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        found += [
            route("kserve", model, kserve.model, "GET"),
            route("kserve", f"{model}/ready", kserve.model_ready, "GET"),
            route("kserve_v2", f"{model}/infer", kserve.infer, "POST"),
            route("kserve_v2", f"{model}/generate", kserve.generate, "POST"),
            route("kserve_v2", f"{model}/generate_stream", kserve.generate_stream, "POST"),
            route("explain", f"{model}/explain", kserve.explain, "POST"),
        ]
    return found


def _vertex(settings: Settings, route: MakeRoute, of: Answerers) -> list[Route]:
    """The routes that Vertex AI names; they come first, for they may be any."""
    found = []
    if settings.aip_predict_route:
        predict = of.predictions.invoke_for_vertex
        found.append(route("predict", settings.aip_predict_route, predict, "POST"))
    if settings.aip_health_route:
        found.append(route("ready", settings.aip_health_route, of.health.ready, "GET"))
    return found
