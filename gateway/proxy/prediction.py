"""Reads from a prediction what the gateway needs to know: how much of the service it takes.

Whether the values are allowed is judged in the handler, once; odd ones are passed on to it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from operator import mul
from typing import Any

from gateway.errors import BadRequest
from gateway.settings import Settings
from handler.content import strict_json
from handler.requests.accept import TEXT
from handler.requests.question import COMPLETION, PLAIN, Question
from handler.workshop import run_beside

COMPLETIONS = "v1/completions"
JSON_TYPE = "application/json"
# So much of a prompt decides which replica may still have it in its cache.
PREFIX_CHARS = 64
# One long body after the other is parsed here.
_long_bodies = ThreadPoolExecutor(1, thread_name_prefix="long-bodies")
DEFAULT_CONTEXT = 1024
# Of a number that is multiplied, and told in an error: Python writes out no more than 4,300 digits.
MOST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Prediction:
    """A request for TorchServe, rebuilt from one that came in."""

    model: str
    version: str
    path: str
    body: bytes
    content_type: str
    accept: str = ""
    sequences: int = 1
    most_sequences: int = sys.maxsize
    prefix: str = ""
    text: str = ""
    writes: bool = True
    priority: int = 0


async def read_json_object(body: bytes) -> dict[str, Any]:
    """Parse a body that must be a JSON object; a long one beside what others wait for.

    Raises:
        BadRequest: It is not.
    """
    if not strict_json.is_long(body):
        return parse_object(body)
    parse = partial(parse_object, body)
    return await asyncio.get_running_loop().run_in_executor(_long_bodies, run_beside, parse)


def parse_object(body: bytes) -> dict[str, Any]:
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


def read_completion(
    model: str,
    version: str,
    value: Mapping[str, Any],
    body: bytes,
    settings: Settings,
    card: Mapping[str, Any],
) -> Prediction:
    """Read a completion request, and its JSON; `card` is what the model says of itself, if it has.

    Raises:
        BadRequest: It asks for more than one request may.
    """
    prompt = value.get("prompt")
    if prompt is None:
        prompt = value.get("input") or ""
    first, prompts = prompt, 1
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], (str, list)):
        first, prompts = prompt[0], len(prompt)
    sequences = prompts * _whole(value.get("best_of"), _whole(value.get("n"), 1))
    most = card.get("limits", {}).get("texts", sys.maxsize)
    # What could never be let in is refused first: fewer tokens would not help.
    if sequences <= most:
        _check_size(_tokens(value, settings, card) * sequences, settings)
    text = " ".join(p for p in prompt if isinstance(p, str)) if prompts > 1 else first
    text = text if isinstance(text, str) else ""
    prefix = text[:PREFIX_CHARS] if text else _beginning(first)
    return Prediction(
        model,
        version,
        COMPLETIONS,
        body,
        JSON_TYPE,
        sequences=sequences,
        most_sequences=most,
        prefix=prefix,
        text=text,
        priority=_priority(value.get("priority")),
    )


def read_prediction(
    model: str,
    version: str,
    question: Question,
    settings: Settings,
    card: Mapping[str, Any],
) -> Prediction:
    """Write what a prediction asks for anew: as a completion, or for the handler's own reader.

    Raises:
        BadRequest: It asks for more than one request may.
    """
    values = [asked.as_json() for asked in question.asked]
    body = json.dumps(values if question.is_list else values[0], ensure_ascii=False).encode()
    formats = {asked.format for asked in question.asked}
    requests = [asked.request for asked in question.asked]
    if formats == {COMPLETION} and not question.is_list:
        return read_completion(model, version, requests[0], body, settings, card)
    each = [read_completion(model, version, value, b"", settings, card) for value in requests]
    sequences = sum(one.sequences for one in each)
    if sequences <= each[0].most_sequences:
        tokens = [_tokens(value, settings, card) for value in requests]
        _check_size(sum(map(mul, tokens, (one.sequences for one in each))), settings)
    return replace(
        each[0],
        path="",
        body=body,
        accept=TEXT if PLAIN in formats else "",
        sequences=sequences,
        text=" ".join(one.text for one in each),
    )


def read_question(model: str, version: str, path: str, body: bytes) -> Prediction:
    """Rebuild a request that generates nothing (tokenize, models)."""
    return Prediction(model, version, path, body, JSON_TYPE, sequences=0, writes=False)


def _tokens(value: Mapping[str, Any], settings: Settings, card: Mapping[str, Any]) -> int:
    """Tokens that each sequence of a request may have."""
    context: int = card.get("context_length", DEFAULT_CONTEXT)
    otherwise = _whole(value.get("max_length"), settings.n_tokens)
    return min(_whole(value.get("max_tokens"), otherwise), context)


def _check_size(tokens: int, settings: Settings) -> None:
    """Refuse more tokens than one request may ask for."""
    if tokens > settings.max_tokens_per_request:
        raise BadRequest(
            f"`max_tokens` x `n` x prompts is {tokens}; "
            f"at most {settings.max_tokens_per_request} tokens are allowed in one request",
            param="max_tokens",
            code="too_many_tokens",
        )


def _beginning(prompt: Any) -> str:
    """What a prompt of token ids begins with; a million of them are not written out for that."""
    ids = prompt[:PREFIX_CHARS] if isinstance(prompt, list) else []
    return " ".join(str(token) for token in ids if isinstance(token, int))[:PREFIX_CHARS]


def _priority(value: Any) -> int:
    """What a request asks for; what is no number the handler refuses."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _whole(value: Any, otherwise: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return min(value, MOST) if is_number and value > 0 else otherwise
