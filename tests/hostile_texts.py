"""Text that nobody means to send, and every place of a request where a text can stand."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import requests
from hypothesis import strategies as st

TEXTS = {
    "high half": "\ud800",
    "low half in a word": "wo\udfffrd",
    "halves in the wrong order": "\udc00\ud83d",
    "nul": "\x00",
    "nul in a word": "wo\x00rd",
    "a header of its own": "x\r\nset-cookie: a=b",
    "terminal": "\x1b[31mred\x07",
    "turned around": "\u202etxet",
    "no character": "\uffff\ufdd0",
    "outside the plane": "\U0010ffff\U0001f642",
    "joined for ever": "e" + "\u0301" * 5000,
    "markup": "<script>alert(1)</script>{{7*7}}${7*7}%s%n",
    "quotes": "\"'`\\",
    "megabytes": "a" * 5_000_000,
    "megabytes of characters": "\U0001f642" * 1_000_000,
}
ANY_TEXT = st.text(st.characters(), max_size=40)  # halves of characters are among them

JSON_ROUTES: dict[str, dict[str, Any]] = {
    "/v1/completions": {
        "model": "gpt2",
        "prompt": ["Once", "upon"],
        "suffix": "x",
        "stop": ["x", "y"],
        "user": "somebody",
        "logit_bias": {"5": 1},
        "stream_options": {"include_usage": True},
        "max_tokens": 1,
        "unknown": {"a": ["b"]},
    },
    "/v1/tokenize": {"text": "Once"},
    "/v1/detokenize": {"tokens": [5]},
    "/generate": {"input": "Once"},
    "/predictions/gpt2": {"input": "Once", "stop": "x", "max_tokens": 1},
    "/predictions/gpt2/1.0/v1/completions": {"prompt": "Once", "max_tokens": 1, "stream": True},
}


def variants(body: Any, text: str) -> Iterator[Any]:
    """The body with `text` in each place in turn: for each value, as one more, and in each name."""
    yield text
    if isinstance(body, dict):
        yield {**body, text: 1}
        inner: list[Any] = list(body)
        for name in inner:
            yield {text if key == name else key: value for key, value in body.items()}
    elif isinstance(body, list):
        yield [*body, text]
        inner = list(range(len(body)))
    else:
        return
    for place in inner:
        for value in variants(body[place], text):
            changed = copy.copy(body)
            changed[place] = value
            yield changed


def spellings(value: Any) -> Iterator[bytes]:
    """JSON with escapes and without; halves of characters as bytes that are not UTF-8."""
    yield json.dumps(value).encode()
    yield json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def assert_answered(reply: requests.Response) -> None:
    """A refusal or an answer, in UTF-8, and JSON where it says so; never a fault of the server."""
    assert 200 <= reply.status_code < 500, reply.text[:300]
    text = reply.content.decode("utf-8")
    assert reply.status_code < 400 or len(text) < 2000
    if reply.headers["content-type"].startswith("application/json"):
        json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8")
    for name, value in reply.headers.items():
        assert name.lower() != "set-cookie" and "\x00" not in value
