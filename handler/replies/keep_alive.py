"""An event with an empty text, in the shape of each route: what a silent stream's client hears.

It counts as no token: nothing of it is in `usage`. The gateway sends it, where a stream waits for
its turn, for a long prompt or for another worker. Imports nothing heavy: the gateway loads it too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from handler.content.json_text import to_json
from handler.requests.question import GENERATED, TEXT_OUTPUT, Asked

# An event of a choice that has not ended, by its index.
Silence = Callable[[int], str]


def of_completion(
    id: str, created: int, model: str, *, chat: bool = False, with_usage: bool = False
) -> Silence:
    """Of completions, and of chats: a delta without a role, which the first token's event has."""
    head = {
        "id": ("chatcmpl-" if chat else "cmpl-") + id,
        "object": "chat.completion.chunk" if chat else "text_completion",
        "created": created,
        "model": model,
    }
    text: dict[str, Any] = {"delta": {"content": ""}} if chat else {"text": ""}
    usage = {"usage": None} if with_usage else {}

    def event(index: int) -> str:
        choice = {"index": index, **text, "logprobs": None, "finish_reason": None}
        return _event({**head, "choices": [choice], **usage})

    return event


def of_question(asked: Asked, model: str, version: str) -> Silence | None:
    """Of Hugging Face's format and KServe's `generate_stream`.

    None where tokens are reported: there an event is a token, and one of none would be counted.
    """
    if asked.details:
        return None
    value: dict[str, Any] = {}
    if asked.format == GENERATED:
        # Clients read `token.text` of every event, and leave out what is special.
        token = {"id": 0, "text": "", "logprob": 0.0, "special": True}
        value = {"index": 0, "token": token, "generated_text": None, "details": None}
    elif asked.format == TEXT_OUTPUT:
        value = {"id": asked.id} if asked.id else {}
        value |= {"model_name": model, "model_version": version, "text_output": ""}
    return (lambda _: _event(value)) if value else None


def _event(value: dict[str, Any]) -> str:
    return f"data: {to_json(value)}\n\n"
