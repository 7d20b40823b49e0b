"""`/generate`, `/v1/...` and `/explanations/...`: completions, embeddings, tokens, models."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from gateway.errors import BadRequest, Clients, Unavailable, Unserved
from gateway.proxy.chat import read_chat
from gateway.proxy.embeddings import read_embeddings
from gateway.proxy.prediction import Prediction, read_completion, read_json_object, read_question
from gateway.proxy.proxy import Proxy
from gateway.proxy.reply import note_ignored_fields
from gateway.replicas.on_demand import OnDemand
from gateway.replicas.registry import Registry
from gateway.routes.admission import Admission
from gateway.routes.health import Health
from gateway.routes.language_gate import LANGUAGE_ERROR, note_language, refuse_foreign
from gateway.routes.tgi import Tgi
from gateway.settings import Settings
from gateway.web.exchange import Exchange
from gateway.web.metrics import Metrics
from handler.errors import NO_EXPLANATIONS
from handler.requests import ignored

API_VERSION = "v1.0.0"
# Of a model that was never loaded, what its handler would say.
OF_EVERY = {"object": "model", "owned_by": "gpt2-torchserve"}


class Inference:
    """Serves predictions, and questions about the models."""

    def __init__(
        self,
        settings: Settings,
        admission: Admission,
        registry: Registry,
        on_demand: OnDemand,
        proxy: Proxy,
        metrics: Metrics,
        tgi: Tgi,
        health: Health,
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._registry = registry
        self._on_demand = on_demand
        self._proxy = proxy
        self._metrics = metrics
        self._tgi = tgi
        self._health = health

    async def generate(self, exchange: Exchange) -> None:
        """The plain route of the service before: `input` in, `generated` and `result` out.

        With `inputs` it is TGI's.
        """
        value = await read_json_object(await self._admission.admit(exchange))
        if value.get("inputs") is not None:
            if value.get("input") is not None:
                raise BadRequest("Give either `input` or `inputs`, not both", param="inputs")
            await self._tgi.generate(exchange, value)
            return
        text = value.get("input")
        if not isinstance(text, str):
            raise BadRequest("`input` must be a string", param="input")
        self._ignore(exchange, [name for name in value if name != "input"])
        gate = self._settings.language_gate
        if note_language(exchange, text, gate) and gate == "refuse":
            await _reply_generated(exchange, text, LANGUAGE_ERROR, LANGUAGE_ERROR)
            return
        asked = {"prompt": text, "max_tokens": self._settings.n_tokens}
        prediction = await self._completion(None, asked, json.dumps(asked).encode())
        reply = await self._proxy.fetch(exchange, prediction)
        value = reply.json()
        if reply.status != 200 or not isinstance(value, dict):
            await reply.send(exchange)
            return
        written = value["choices"][0]["text"]
        await _reply_generated(exchange, text, written, text + written)

    def _ignore(self, exchange: Exchange, names: list[str]) -> None:
        """Name fields of the plain route that are not known, or refuse them where that is set."""
        if names and self._settings.strict_fields:
            shown = names[0][:100]
            raise BadRequest(f"Unknown field `{shown}`", param=shown, code="unknown_field")
        note_ignored_fields(exchange, ignored.header_value(names), self._metrics)

    async def completions(self, exchange: Exchange) -> None:
        """OpenAI's completions."""
        body = await self._admission.admit(exchange)
        value = await read_json_object(body)
        prediction = await self._completion(value.get("model"), value, body)
        refuse_foreign(exchange, prediction.text, self._settings.language_gate)
        await self._proxy.serve(exchange, prediction)

    async def chats(self, exchange: Exchange) -> None:
        """OpenAI's chat completions."""
        body = await self._admission.admit(exchange)
        value = await read_json_object(body)
        prediction = read_chat(*await self._asked(value.get("model"), value, body))
        refuse_foreign(exchange, prediction.text, self._settings.language_gate)
        await self._proxy.serve(exchange, prediction)

    async def embeddings(self, exchange: Exchange) -> None:
        """OpenAI's embeddings."""
        body = await self._admission.admit(exchange)
        value = await read_json_object(body)
        prediction = read_embeddings(*await self._asked(value.get("model"), value, body))
        await self._proxy.serve(exchange, prediction)

    async def tokenize(self, exchange: Exchange) -> None:
        """Token ids of a text, or the text of token ids."""
        body = await self._admission.admit(exchange)
        name = None
        with contextlib.suppress(BadRequest):  # what is no JSON is refused by the handler
            name = (await read_json_object(body)).get("model")
        model, version = await self._model(name)
        path = "v1/" + exchange.path.strip("/").removeprefix("v1/")
        await self._proxy.serve(exchange, read_question(model, version, path, body))

    async def list_models(self, exchange: Exchange) -> None:
        """What is served, for OpenAI's readers and for KServe's; the service's own model first."""
        await self._admission.admit(exchange)
        own = self._settings.model_name
        names = sorted(self._registry.models, key=lambda name: name != own)
        cards = [self._card(name) for name in names]
        data = [card for card in cards if card is not None]
        if not data:
            raise Unavailable("The model is starting", code="not_ready", retry_after=2)
        value = {"object": "list", "data": data, "models": [card["name"] for card in data]}
        await exchange.reply(200, json.dumps(value, ensure_ascii=False).encode())

    async def read_model(self, exchange: Exchange) -> None:
        """What one model is; a 503 while it cannot answer."""
        await self._admission.admit_question(exchange)
        name = self._registry.named(exchange.scope["path_params"]["model"])
        card = None
        if self._health.is_serving or self._registry.models:
            card = self._card(name)
        if card is None:
            card = {"name": name, "ready": False}
            starting = Unavailable("The model is starting", code="not_ready")
            card |= json.loads(starting.body(Clients.OPENAI))
        body = json.dumps(card, ensure_ascii=False).encode()
        if card["ready"]:
            await exchange.reply(200, body)
        else:
            await exchange.reply(503, body, headers=[(b"retry-after", b"2")])

    def _card(self, name: str) -> dict[str, Any] | None:
        """What a model says of itself, and whether it would answer now."""
        registry, version = self._registry, self._registry.resolve(name)
        known = registry.version(name, version)
        card = known.card
        if card is None and known.demand is not None:
            card = {"id": name, **OF_EVERY, "version": version, **known.demand.about}
        if card is None:
            return None
        is_ready = self._health.is_open and registry.is_version_ready(name, version)
        state = {"state": known.state} if self._on_demand.is_on else {}
        return {**card, "name": name, "ready": is_ready, **state}

    async def explain(self, exchange: Exchange) -> None:
        """TorchServe's explanations, which GPT-2 has none of."""
        params = exchange.scope["path_params"]
        await self._admission.admit(exchange)
        self._registry.serving(params["model"], params.get("version"))
        raise Unserved(NO_EXPLANATIONS)

    async def _completion(self, name: Any, value: dict[str, Any], body: bytes) -> Prediction:
        return read_completion(*await self._asked(name, value, body))

    async def _asked(
        self, name: Any, value: dict[str, Any], body: bytes
    ) -> tuple[str, str, dict[str, Any], bytes, Settings, dict[str, Any]]:
        """What a request is read with: the model that it names, and what that says of itself."""
        model, version = await self._model(name)
        card = self._registry.card(model, version) or {}
        return model, version, value, body, self._settings, card

    async def _model(self, name: Any) -> tuple[str, str]:
        """The model that a request names, by its name or its checkpoint's, and its version.

        An empty name, as clients without a model send it, is none.
        """
        if name is None or name == "":
            name = self._settings.model_name
        if not isinstance(name, str):
            raise BadRequest("`model` must be a string", param="model")
        model = self._registry.named(name)
        return model, await self._on_demand.serving(model)


async def _reply_generated(exchange: Exchange, query: str, generated: str, result: str) -> None:
    body = {"query": query, "generated": generated, "result": result}
    value = {"version": API_VERSION, "body": body}
    await exchange.reply(200, json.dumps(value, ensure_ascii=False).encode())
