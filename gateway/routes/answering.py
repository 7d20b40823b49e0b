"""Has a question answered by a model, in the format in which it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from gateway.errors import BadRequest
from gateway.proxy.prediction import Prediction, read_prediction
from gateway.proxy.proxy import Proxy
from gateway.proxy.reply import Reply
from gateway.replicas.registry import Registry
from gateway.routes.language_gate import refuse_foreign
from gateway.settings import Settings
from gateway.web.exchange import Exchange
from handler.errors import RequestError
from handler.replies import kserve
from handler.requests.kserve import LENGTH_HEADER
from handler.requests.question import Question

BINARY_TYPE = "application/octet-stream"
# Changes the parsed JSON of a good reply.
Change = Callable[[Any], Any]


@contextmanager
def telling_faults() -> Iterator[None]:
    """Have what the reader of requests finds wrong be an error of the gateway.

    Raises:
        BadRequest: In the same words.
    """
    try:
        yield
    except RequestError as error:
        raise BadRequest(error.message, param=error.param, code=error.code) from None


class Answering:
    """Sends questions to models; whole answers may be formed further."""

    def __init__(self, settings: Settings, registry: Registry, proxy: Proxy) -> None:
        self._settings = settings
        self._registry = registry
        self._proxy = proxy

    async def answer(
        self,
        exchange: Exchange,
        model: str,
        version: str,
        question: Question,
        change: Change | None = None,
    ) -> None:
        """Answer a question to a model whose card is known."""
        card = self._registry.card(model, version) or {}
        prediction = read_prediction(model, version, question, self._settings, card)
        refuse_foreign(exchange, prediction.text, self._settings.language_gate)
        if question.streams or (question.envelope is None and change is None):
            await self._proxy.serve(exchange, prediction)
            return
        reply = await self._proxy.fetch(exchange, prediction)
        if reply.status == 200:
            value = reply.json()
            reply = _formed(reply, change(value) if change else value, question, version)
        await reply.send(exchange)

    async def pass_on(self, exchange: Exchange, model: str, version: str, body: bytes) -> None:
        """Send another kind of model what came: it is its own business."""
        content_type = exchange.headers.get("content-type", "")
        await self._proxy.serve(exchange, Prediction(model, version, "", body, content_type))


def _formed(reply: Reply, value: Any, question: Question, version: str) -> Reply:
    """A reply with another value, in what KServe's answers stand in."""
    tail = b""
    if question.envelope is not None:
        value = kserve.enclosed(question.envelope, value, version)
        value, tail = kserve.with_binary(question.envelope, value)
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    if not tail:
        return replace(reply, body=body)
    header = (LENGTH_HEADER.encode(), str(len(body)).encode())
    return replace(
        reply, body=body + tail, content_type=BINARY_TYPE, headers=[*reply.headers, header]
    )
