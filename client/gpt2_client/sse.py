"""Server-Sent Events of a completion: bytes in, typed events out. Knows no HTTP library."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from gpt2_client.errors import BadReply, StreamBroken, api_error
from gpt2_client.results import Event, FinishEvent, Logprobs, TextEvent, Usage, UsageEvent


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Cut a byte stream into lines, wherever the network cut it; a last half line is dropped."""
    held = b""
    for chunk in chunks:
        held += chunk
        *whole, held = held.split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r").decode("utf-8", "replace")


def events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """Read one completion's stream up to its `[DONE]`.

    Raises the server's error when one comes in mid-stream, StreamBroken when the bytes end
    before `[DONE]`.
    """
    usage: Usage | None = None
    for line in lines(chunks):
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            if usage is not None:
                yield UsageEvent(usage)
            return
        body = _object(data)
        if "error" in body:
            raise api_error(body)
        if body.get("usage"):
            usage = Usage.of(body["usage"])
        for choice in body.get("choices", ()):
            yield from _of_choice(choice)
    raise StreamBroken("the stream ended before the text was complete")


def _of_choice(choice: dict[str, Any]) -> Iterator[Event]:
    index = int(choice.get("index", 0))
    logprobs = Logprobs.of(choice.get("logprobs"))
    if choice.get("text") or logprobs is not None:
        yield TextEvent(index, str(choice.get("text", "")), logprobs)
    if choice.get("finish_reason"):
        yield FinishEvent(index, str(choice["finish_reason"]))


def _object(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError:
        raise BadReply("the stream contains something that is not JSON") from None
    if not isinstance(body, dict):
        raise BadReply("the stream contains JSON that is not an object")
    return body
