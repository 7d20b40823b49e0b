"""What a prediction asks for, as far as the gateway must know: how much of the service it takes.

Whether the values are allowed is judged in the handler, once; odd ones are passed on to it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gateway.errors import BadRequest
from gateway.settings import Settings
from handler import strict_json

COMPLETIONS = "v1/completions"
JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"
# So much of a prompt decides which replica may still have it in its cache.
PREFIX_CHARS = 64
DEFAULT_CONTEXT = 1024


@dataclass(frozen=True, slots=True)
class Prediction:
    """A request for TorchServe, rebuilt from one that came in."""

    model: str
    version: str
    path: str
    body: bytes
    content_type: str
    sequences: int = 1
    prefix: str = ""
    text: str = ""
    writes: bool = True


def read_json_object(body: bytes) -> dict[str, Any]:
    """Parse a body that must be a JSON object.

    Raises:
        BadRequest: It is not.
    """
    try:
        value = strict_json.load(body)
    except strict_json.JsonError as error:
        raise BadRequest(error.message, param=error.param, code=error.code) from None
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object", code="invalid_type")
    return value


def completion(
    model: str, version: str, path: str, body: bytes, settings: Settings, context: int | None
) -> Prediction:
    """Read a completion request.

    Raises:
        BadRequest: It is no JSON object, or asks for more than one request may.
    """
    value = read_json_object(body)
    prompt = value.get("prompt", value.get("input", ""))
    first, prompts = prompt, 1
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], (str, list)):
        first, prompts = prompt[0], len(prompt)
    n = _whole(value.get("n"), 1)
    _check_size(value, n * prompts, settings, context or DEFAULT_CONTEXT)
    text = " ".join(p for p in prompt if isinstance(p, str)) if prompts > 1 else first
    text = text if isinstance(text, str) else ""
    prefix = text[:PREFIX_CHARS] if text else _beginning(first)
    return Prediction(model, version, path, body, JSON_TYPE, n * prompts, prefix, text)


def plain_text(model: str, version: str, body: bytes) -> Prediction:
    """Read a prompt that came as plain text. Asked for as JSON, where an error can be told.

    Raises:
        BadRequest: It is not UTF-8.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"The text is not UTF-8 at byte {error.start}", param="prompt", code="invalid_text"
        ) from None
    asked = json.dumps({"prompt": text}, ensure_ascii=False).encode()
    return Prediction(model, version, COMPLETIONS, asked, JSON_TYPE, 1, text[:PREFIX_CHARS], text)


def question(model: str, version: str, path: str, body: bytes) -> Prediction:
    """Rebuild a request that writes no text (tokenize, models)."""
    return Prediction(model, version, path, body, JSON_TYPE, 0, writes=False)


def _check_size(value: dict[str, Any], sequences: int, settings: Settings, context: int) -> None:
    tokens = min(_whole(value.get("max_tokens"), settings.n_tokens), context)
    if tokens * sequences > settings.max_tokens_per_request:
        raise BadRequest(
            f"`max_tokens` x `n` x prompts is {tokens * sequences}; "
            f"at most {settings.max_tokens_per_request} tokens fit one request",
            param="max_tokens",
            code="too_many_tokens",
        )
    if value.get("logprobs") is None:
        return
    # With `echo` the prompt's tokens count too; it can not be longer than the context.
    positions = context if value.get("echo") else tokens
    entries = positions * sequences * _whole(value["logprobs"], 0)
    most = max(settings.max_logprobs_per_request, 0)
    if entries > most:
        raise BadRequest(
            f"`logprobs` x tokens x texts may come to {entries}; at most {most} fit one reply",
            param="logprobs",
            code="too_many_logprobs",
        )


def _beginning(prompt: Any) -> str:
    """What a prompt of token ids begins with; a million of them are not written out for that."""
    ids = prompt[:PREFIX_CHARS] if isinstance(prompt, list) else []
    return " ".join(str(token) for token in ids if isinstance(token, int))[:PREFIX_CHARS]


def _whole(value: Any, otherwise: int) -> int:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and value > 0 else otherwise
