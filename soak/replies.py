"""The parts of a reply that must be the same each time: all but ids, times and cached tokens."""

from __future__ import annotations

import json
from typing import Any

VOLATILE = ("id", "created", "prompt_tokens_details", "system_fingerprint")
DONE = "[DONE]"


class Broken(Exception):
    """A reply that is none: a failure that the client saw; the message says which."""


def whole(status: int, body: bytes) -> Any:
    """What counts of a whole reply.

    Raises:
        Broken: It is an error.
    """
    if status != 200:
        raise Broken(f"{status} {_code(body)}")
    try:
        return _lasting(json.loads(body))
    except ValueError:
        return body.decode("utf-8", "replace")


def stream(body: bytes) -> Any:
    """What counts of a stream, however its events were cut.

    Raises:
        Broken: It has no end, or ends with an error.
    """
    events = []
    for block in body.split(b"\n\n"):
        if not block:
            continue
        if not block.startswith(b"data:"):
            raise Broken("a stream with something that is no event")
        events.append(block.removeprefix(b"data:").strip().decode())
    if not events:
        raise Broken("an empty stream")
    if events[-1] != DONE and '"details"' not in events[-1]:
        raise Broken("a stream without an end")
    joined: dict[str, Any] = {"choices": {}}
    ids = set()
    for text in events:
        if text == DONE:
            continue
        try:
            event = json.loads(text)
        except ValueError:
            raise Broken("an event that is no JSON") from None
        if "error" in event:
            raise Broken(f"a stream's error: {event['error'].get('code')}")
        ids.add((event.get("id"), event.get("created")))
        _join(joined, event)
    if len(ids) > 1:
        raise Broken("a stream with more than one id")
    return joined


def _join(joined: dict[str, Any], event: dict[str, Any]) -> None:
    if "token" in event:  # Hugging Face's format: one event a token
        if event.get("index") != 0:  # which is no token: the stream was kept alive
            joined.setdefault("events", []).append(event)
        return
    if event.get("usage"):
        joined["usage"] = _lasting(event["usage"])
    for choice in event.get("choices", ()):
        kept = joined["choices"].setdefault(
            choice["index"], {"text": "", "logprobs": {}, "finish_reason": None}
        )
        delta = choice.get("delta", choice)
        kept["text"] += delta.get("text") or delta.get("content") or ""
        for name, values in (choice.get("logprobs") or {}).items():
            if isinstance(values, list):
                kept["logprobs"].setdefault(name, []).extend(values)
        kept["finish_reason"] = choice.get("finish_reason") or kept["finish_reason"]


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lasting(each) for name, each in value.items() if name not in VOLATILE}
    if isinstance(value, list):
        return [_lasting(each) for each in value]
    return value


def _code(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return body[:80].decode("utf-8", "replace")
