"""The routes that write texts: what came in becomes a prediction, and goes to the proxy."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from gateway import inbound
from gateway.door import Door
from gateway.errors import BadRequest, NotFound, Unavailable
from gateway.exchange import Exchange
from gateway.inbound import COMPLETIONS, JSON_TYPE, TEXT_TYPE, Prediction
from gateway.language import foreign_language
from gateway.management import NAME
from gateway.manifest import VERSION
from gateway.parts import Parts
from gateway.reply import note_ignored_fields
from handler import ignored

QUESTIONS = ("v1/tokenize", "v1/detokenize")
API_VERSION = "v1.0.0"
LANGUAGE_ERROR = "lang_det_err"


class Inference:
    """Serves predictions, and questions about the models."""

    def __init__(self, parts: Parts, door: Door) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._door = door

    async def generate(self, exchange: Exchange) -> None:
        """The plain route of the service before: `input` in, `generated` and `result` out."""
        value = inbound.read_json_object(await self._door.admit(exchange))
        text = value.get("input")
        if not isinstance(text, str):
            raise BadRequest("`input` must be a text", param="input")
        self._ignore(exchange, [name for name in value if name != "input"])
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

    def _ignore(self, exchange: Exchange, names: list[str]) -> None:
        """Name fields of the plain route that are not known, or refuse them where that is set."""
        if names and self._settings.strict_fields:
            shown = names[0][:100].encode("utf-8", "replace").decode("utf-8")
            raise BadRequest(f"Unknown field `{shown}`", param=shown, code="unknown_field")
        note_ignored_fields(exchange, ignored.header_value(names), self._parts.metrics)

    async def completions(self, exchange: Exchange) -> None:
        """OpenAI's completions."""
        body = await self._door.admit(exchange)
        name = inbound.read_json_object(body).get("model")
        await self._write(exchange, self._completion(name, None, body))

    async def tokenize(self, exchange: Exchange) -> None:
        """Token ids of a text, or the text of token ids."""
        body = await self._door.admit(exchange)
        model = self._settings.model_name
        version = self._parts.replicas.resolve(model)
        path = exchange.path.strip("/")
        await self._parts.proxy.serve(exchange, inbound.question(model, version, path, body))

    async def list_models(self, exchange: Exchange) -> None:
        """What is loaded: all models, or the one that the path names."""
        await self._door.admit(exchange)
        replicas = self._parts.replicas
        wanted = exchange.scope["path_params"].get("model")
        names = replicas.models if wanted is None else [wanted]
        cards = [replicas.card(name, replicas.resolve(name)) for name in names]
        data = [card for card in cards if card is not None]
        if not data:
            raise Unavailable("The model is starting", code="not_ready", retry_after=2)
        value = {"object": "list", "data": data} if wanted is None else data[0]
        await exchange.reply(200, json.dumps(value, ensure_ascii=False).encode())

    async def predict(self, exchange: Exchange) -> None:
        """TorchServe's own route, of any model that is loaded."""
        name, version, path = _predicted(exchange.scope["path_params"])
        body = await self._door.admit(exchange)
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
        return inbound.completion(name, version, path, body, self._settings, card)

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
