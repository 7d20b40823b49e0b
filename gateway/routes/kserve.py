"""KServe's two protocols: V1 (`:predict`), and V2, the Open Inference Protocol."""

from __future__ import annotations

import json
from typing import Any

from gateway import __version__
from gateway.archives.manifest import VERSION
from gateway.errors import GatewayError, NotFound, Unserved
from gateway.proxy.prediction import read_json_object
from gateway.replicas.on_demand import OnDemand
from gateway.replicas.registry import Registry
from gateway.routes.admission import Admission
from gateway.routes.answering import Answering, telling_faults
from gateway.routes.health import Health
from gateway.web.exchange import Exchange
from handler.errors import NO_EXPLANATIONS
from handler.model_name import NAME
from handler.requests.kserve import (
    LENGTH_HEADER,
    OUTPUTS,
    read_generate,
    read_infer,
    read_instances,
    split,
)
from handler.requests.named_tensors import TEXT_INPUT
from handler.requests.tensors import BYTES

SERVER = {
    "name": "gpt2-torchserve",
    "version": __version__,
    "extensions": ["binary_tensor_data", "parameters", "generate"],
}
PLATFORM = "pytorch_torchserve"
RETRY = [(b"retry-after", b"2")]


class KServe:
    """Serves `/v1/models/{model}:predict` and `/v2/...`."""

    def __init__(
        self,
        admission: Admission,
        registry: Registry,
        on_demand: OnDemand,
        answering: Answering,
        health: Health,
    ) -> None:
        self._admission = admission
        self._registry = registry
        self._on_demand = on_demand
        self._answering = answering
        self._health = health

    async def predict(self, exchange: Exchange) -> None:
        """V1: instances to predictions."""
        model, version, body = await self._asked(exchange)
        if self._registry.card(model, version) is None:
            await self._answering.pass_on(exchange, model, version, body)
            return
        value = await read_json_object(body)
        with telling_faults():
            question = read_instances(value)
        await self._answering.answer(exchange, model, version, question)

    async def infer(self, exchange: Exchange) -> None:
        """V2: tensors to tensors."""
        model, version, body = await self._asked(exchange)
        if self._registry.card(model, version) is None:
            await self._answering.pass_on(exchange, model, version, body)
            return
        length = exchange.headers.get(LENGTH_HEADER)
        with telling_faults():
            if length is None:
                value, tail = await read_json_object(body), b""
            else:
                value, tail = split(body, length)
            question = read_infer(value, tail)
        await self._answering.answer(exchange, model, version, question)

    async def generate(self, exchange: Exchange) -> None:
        """V2's extension: text to text."""
        await self._generate(exchange, stream=False)

    async def generate_stream(self, exchange: Exchange) -> None:
        """The same as events."""
        await self._generate(exchange, stream=True)

    async def _generate(self, exchange: Exchange, *, stream: bool) -> None:
        model, version, body = await self._asked(exchange)
        value = await read_json_object(body)
        with telling_faults():
            question = read_generate(value, stream=stream)
        await self._answering.answer(exchange, model, version, question)

    async def explain(self, exchange: Exchange) -> None:
        """Either's explanations, which GPT-2 has none of."""
        await self._asked(exchange)
        raise Unserved(NO_EXPLANATIONS)

    async def _asked(self, exchange: Exchange) -> tuple[str, str, bytes]:
        """Admit a request; the model and the version that it asks, and its body."""
        body = await self._admission.admit(exchange)
        model, version = self._named(exchange)
        return model, await self._on_demand.serving(model, version), body

    def _named(self, exchange: Exchange) -> tuple[str, str]:
        params = exchange.scope["path_params"]
        model, version = params["model"], params.get("version")
        if not NAME.fullmatch(model) or (version and not VERSION.fullmatch(version)):
            raise NotFound("There is no such route")
        return model, self._registry.resolve(model, version)

    # What is there, and how it is

    async def server(self, exchange: Exchange) -> None:
        """V2: what serves here."""
        await _reply(exchange, SERVER)

    async def live(self, exchange: Exchange) -> None:
        """V2: this process works."""
        await _reply(exchange, {"live": True})

    async def ready(self, exchange: Exchange) -> None:
        """V2: whether a request would be served now."""
        is_ready = self._health.is_ready
        await _reply(exchange, {"ready": is_ready, "live": True}, is_ready=is_ready)

    async def model(self, exchange: Exchange) -> None:
        """V2: what a model takes and gives."""
        await self._admission.admit(exchange)
        name, version = self._named(exchange)
        versions = self._registry.versions(name)
        if "version" in exchange.scope["path_params"]:
            versions = [version]
        texts = [-1]
        inputs = [{"name": TEXT_INPUT, "datatype": BYTES, "shape": texts}]
        outputs = [{"name": each, "datatype": BYTES, "shape": texts} for each in OUTPUTS[:2]]
        about = {"name": name, "versions": versions, "platform": PLATFORM}
        await _reply(exchange, {**about, "inputs": inputs, "outputs": outputs})

    async def model_ready(self, exchange: Exchange) -> None:
        """V2: whether a model would answer now."""
        await self._admission.admit_question(exchange)
        name, is_ready = exchange.scope["path_params"]["model"], False
        try:
            name, version = self._named(exchange)
            is_ready = self._health.is_open and self._registry.is_version_ready(name, version)
        except GatewayError:
            if self._health.is_serving:  # else nothing is known yet
                raise
        await _reply(exchange, {"name": name, "ready": is_ready}, is_ready=is_ready)


async def _reply(exchange: Exchange, value: dict[str, Any], *, is_ready: bool = True) -> None:
    headers = [] if is_ready else RETRY
    await exchange.reply(200 if is_ready else 503, json.dumps(value).encode(), headers=headers)
