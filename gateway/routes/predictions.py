"""TorchServe's own route: requests as its users send them, to any model that is loaded."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.archives.manifest import VERSION
from gateway.errors import Clients, NotFound
from gateway.proxy.chat import CHATS, read_chat
from gateway.proxy.embeddings import EMBEDDINGS, read_embeddings
from gateway.proxy.prediction import (
    COMPLETIONS,
    read_completion,
    read_json_object,
    read_question,
)
from gateway.proxy.proxy import Proxy
from gateway.replicas.on_demand import OnDemand
from gateway.replicas.registry import Registry
from gateway.routes import forms
from gateway.routes.admission import Admission
from gateway.routes.answering import Answering, telling_faults
from gateway.routes.language_gate import refuse_foreign
from gateway.routes.pages import Pages, refuse_preflight
from gateway.settings import Settings
from gateway.web.exchange import Exchange
from handler.content.charsets import parse_content_type
from handler.model_name import NAME
from handler.requests.bodies import read_body, read_form
from handler.requests.question import Field, Question

QUESTIONS = ("v1/tokenize", "v1/detokenize", "v1/models")
READERS = {COMPLETIONS: read_completion, CHATS: read_chat, EMBEDDINGS: read_embeddings}


class Predictions:
    """Serves `/predictions/{model}[/{version}][/v1/...]`."""

    def __init__(
        self,
        settings: Settings,
        admission: Admission,
        registry: Registry,
        on_demand: OnDemand,
        proxy: Proxy,
        answering: Answering,
        pages: Pages,
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._registry = registry
        self._on_demand = on_demand
        self._proxy = proxy
        self._answering = answering
        self._pages = pages

    async def predict(self, exchange: Exchange) -> None:
        """Serve one prediction, or what follows behind the model's name."""
        name, version, path = _named(exchange.scope["path_params"])
        body = await self._admission.admit(exchange)
        version = await self._on_demand.serving(name, version)
        card = self._registry.card(name, version)
        if path in QUESTIONS:
            prediction = read_question(name, version, path, body)
        elif path in READERS:
            value = await read_json_object(body)
            prediction = READERS[path](name, version, value, body, self._settings, card or {})
        else:
            await self._predict(exchange, name, version, body, self._query(exchange))
            return
        refuse_foreign(exchange, prediction.text, self._settings.language_gate)
        await self._proxy.serve(exchange, prediction)

    async def describe(self, exchange: Exchange) -> None:
        """Answer `OPTIONS`, TorchServe's question of what a model takes."""
        refuse_preflight(exchange)
        name, version, _ = _named(exchange.scope["path_params"])
        await self._admission.admit_question(exchange)
        self._registry.resolve(name, version)
        await self._pages.describe_predictions(exchange)

    async def invoke(self, exchange: Exchange) -> None:
        """TorchServe's and SageMaker's `/invocations`: the query may name the model."""
        body = await self._admission.admit(exchange)
        query = self._query(exchange)
        named = [field.value.decode("utf-8", "replace") for field in query if _names_model(field)]
        name = named[-1] if named else self._settings.model_name
        version = await self._on_demand.serving(name)
        rest = [field for field in query if not _names_model(field)]
        await self._predict(exchange, name, version, body, rest)

    async def invoke_for_vertex(self, exchange: Exchange) -> None:
        """Vertex AI's route, AIP_PREDICT_ROUTE: its clients read V1's errors."""
        exchange.clients = Clients.KSERVE
        await self.invoke(exchange)

    async def _predict(
        self, exchange: Exchange, name: str, version: str, body: bytes, query: list[Field]
    ) -> None:
        if self._registry.card(name, version) is None:
            await self._answering.pass_on(exchange, name, version, body)
        else:
            question = self._read(exchange, body, query)
            await self._answering.answer(exchange, name, version, question)

    def _query(self, exchange: Exchange) -> list[Field]:
        return forms.pairs(exchange.scope["query_string"], self._settings.max_form_fields)

    def _read(self, exchange: Exchange, body: bytes, query: list[Field]) -> Question:
        headers: Mapping[str, str] = exchange.headers
        content_type, accept = headers.get("content-type", ""), headers.get("accept", "")
        kind = parse_content_type(content_type)
        most = self._settings.max_form_fields
        with telling_faults():
            if kind.is_form:
                fields = forms.take_apart(body, kind, most)
                return read_form(fields, query, accept, body if kind.is_urlencoded else None)
            return read_body(body, content_type, query, accept)


def _names_model(field: Field) -> bool:
    return field.name == "model_name"


def _named(params: dict[str, str]) -> tuple[str, str | None, str]:
    """Split `/predictions/{model}[/{version}][/v1/...]` into model, version and path."""
    model, rest = params["model"], params.get("rest", "")
    known = ("", *READERS, *QUESTIONS)
    version: str | None = None
    if rest and rest not in known:
        version, _, rest = rest.partition("/")
        if not VERSION.fullmatch(version):
            raise NotFound("There is no such route")
    ends_in_slash = params.get("rest", "x").endswith("/") or params.get("rest") == ""
    if not NAME.fullmatch(model) or rest not in known or ends_in_slash:
        raise NotFound("There is no such route")
    return model, version, rest
