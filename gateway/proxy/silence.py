"""The keep-alive event for a silent stream: its request is read as the handler reads it.

Loads pydantic, and so is called in a thread, and only where a stream has been silent for long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gateway.proxy.chat import CHATS
from gateway.proxy.prediction import COMPLETIONS, Prediction
from handler.errors import RequestError
from handler.replies import keep_alive
from handler.replies.keep_alive import Silence
from handler.replies.sideband import Identity
from handler.requests import ignored
from handler.requests.bodies import read_body
from handler.requests.question import COMPLETION, Asked


@dataclass(frozen=True, slots=True)
class Silent:
    """A stream that may be sent events without text, and what its head says."""

    event: Silence
    seed: int
    ignored_fields: str


def read_silent(prediction: Prediction, card: dict[str, Any], identity: Identity) -> Silent | None:
    """Read a request; None where it is no stream, is to be refused, or has no such events."""
    try:
        return _read(prediction, card, identity)
    except RequestError:
        return None


def _read(prediction: Prediction, card: dict[str, Any], identity: Identity) -> Silent | None:
    from handler.requests.base import unknown_fields
    from handler.requests.chat_schema import ChatRequest
    from handler.requests.schema import CompletionRequest
    from handler.requests.validation import parse_json, validate

    kind: type[CompletionRequest | ChatRequest] = CompletionRequest
    asked = Asked({})
    if prediction.path == COMPLETIONS:
        asked = Asked(parse_json(prediction.body))
    elif prediction.path == CHATS and card.get("chat_template"):
        kind, asked = ChatRequest, Asked(parse_json(prediction.body))
    elif not prediction.path:
        question = read_body(prediction.body, prediction.content_type, (), prediction.accept)
        asked = question.asked[0]
    else:
        return None
    request = validate(kind, asked.request)
    if not request.stream:
        return None
    event: Silence | None
    if asked.format == COMPLETION:
        options = request.stream_options
        event = keep_alive.of_completion(
            identity.id,
            identity.created,
            prediction.model,
            chat=kind is ChatRequest,
            with_usage=bool(options and options.include_usage),
        )
    else:
        event = keep_alive.of_question(asked, prediction.model, prediction.version)
    if event is None:
        return None
    seed = identity.seed if request.seed is None else request.seed
    names = ignored.header_value(unknown_fields(request, asked.request))
    return Silent(event, seed, names)
