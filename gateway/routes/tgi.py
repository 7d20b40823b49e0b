"""Text Generation Inference's own routes, which Hugging Face's clients ask."""

from __future__ import annotations

import json
from typing import Any

from gateway import __version__
from gateway.errors import Clients
from gateway.proxy.prediction import read_json_object
from gateway.replicas.registry import Registry
from gateway.routes.admission import Admission
from gateway.routes.answering import Answering, telling_faults
from gateway.settings import Settings
from gateway.web.exchange import Exchange
from handler.requests.tgi import read


class Tgi:
    """Serves `POST /`, `/generate_stream`, `/info`, and `/generate` where it is asked as TGI's."""

    def __init__(
        self,
        settings: Settings,
        admission: Admission,
        registry: Registry,
        answering: Answering,
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._registry = registry
        self._answering = answering

    async def root(self, exchange: Exchange) -> None:
        """As the pipeline has it: a list, and the prompt in it unless that is unwanted."""
        value = await read_json_object(await self._admission.admit(exchange))
        with telling_faults():
            question = read(value, full_text=True)
        await self._answering.answer(exchange, *self._own(), question)

    async def generate_stream(self, exchange: Exchange) -> None:
        """One event a token."""
        value = await read_json_object(await self._admission.admit(exchange))
        with telling_faults():
            question = read(value, full_text=False, stream=True)
        await self._answering.answer(exchange, *self._own(), question)

    async def generate(self, exchange: Exchange, value: dict[str, Any]) -> None:
        """An object for the text alone; `value` is the body of a request that was admitted."""
        exchange.clients = Clients.TGI
        with telling_faults():
            question = read(value, full_text=False, stream=False)
        await self._answering.answer(exchange, *self._own(), question, change=_first)

    async def info(self, exchange: Exchange) -> None:
        """What is served, in TGI's words."""
        await self._admission.admit(exchange)
        model, version = self._own()
        card = self._registry.card(model, version) or {}
        limits, context = card.get("limits", {}), card.get("context_length")
        value = {
            "model_id": card.get("checkpoint") or model,
            "model_sha": card.get("content_sha256"),
            "model_dtype": card.get("precision"),
            "model_device_type": "cpu",
            "model_pipeline_tag": "text-generation",
            "max_concurrent_requests": limits.get("texts"),
            "max_best_of": limits.get("texts"),
            "max_stop_sequences": limits.get("stop"),
            "max_input_length": context and context - 1,
            "max_input_tokens": context and context - 1,
            "max_total_tokens": context,
            "max_client_batch_size": 1,
            "validation_workers": 1,
            "router": "gpt2-torchserve",
            "version": __version__,
            "sha": None,
            "docker_label": None,
        }
        await exchange.reply(200, json.dumps(value).encode())

    def _own(self) -> tuple[str, str]:
        name = self._settings.model_name
        return name, self._registry.serving(name)


def _first(value: Any) -> Any:
    return value[0]
