"""Reads from a chat request what the gateway needs to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from gateway.proxy.prediction import DEFAULT_CONTEXT, Prediction, read_completion
from gateway.settings import Settings

CHATS = "v1/chat/completions"


def read_chat(
    model: str,
    version: str,
    value: Mapping[str, Any],
    body: bytes,
    settings: Settings,
    card: Mapping[str, Any],
) -> Prediction:
    """Read a chat request, and its JSON; `card` is what the model says of itself, if it has.

    Raises:
        BadRequest: It asks for more than one request may.
    """
    texts = list(_texts(value.get("messages")))
    most = value.get("max_completion_tokens")
    most = value.get("max_tokens") if most is None else most
    if most is None and value.get("max_length") is None:
        # An answer may fill the context, and ends by itself.
        most = card.get("context_length", DEFAULT_CONTEXT)
    asked = {"n": value.get("n"), "max_length": value.get("max_length"), "max_tokens": most}
    # The likeness of beginnings is that of whole talks; the language is that of the last turn.
    asked["prompt"] = "\n".join(texts)
    read = read_completion(model, version, asked, body, settings, card)
    return replace(read, path=CHATS, text=texts[-1] if texts else "")


def _texts(messages: Any) -> Iterator[str]:
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, dict) else None
        for part in content if isinstance(content, list) else (content,):
            text = part.get("text") if isinstance(part, dict) else part
            if isinstance(text, str):
                yield text
