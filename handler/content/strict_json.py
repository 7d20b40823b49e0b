"""Reads JSON as RFC 8259 has it, for the gateway and the handler alike: one place that judges."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from handler.content import long_json
from handler.content.utf8 import half_character, is_whole
from handler.older_pythons import possessive
from handler.workshop import pace

# A prompt of 96 lists of ids has 97.
MOST_NESTS = 10_000
TEXTS_AT_ONCE = 2048
QUOTED = re.compile(possessive(rb'"(?:[^"\\]|\\.)*+"?+'), re.DOTALL)
# An escape of half a character, be it one of two that make a whole one.
HALF = re.compile(r"\\u[dD][89a-fA-F]")


class JsonError(ValueError):
    """What is not JSON, or holds text that is none; says where."""

    def __init__(self, message: str, code: str = "invalid_json", param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param


def load(body: bytes | bytearray | str) -> Any:
    """Parse JSON: no NaN, no Infinity, no half characters.

    Raises:
        JsonError: It is not JSON, nested too deeply, or holds half a character.
    """
    pace()
    _bound_nests(body)
    try:
        text = _text(body)
        with _no_collections():
            if long_json.is_long(text):
                value = long_json.loads(text, _refuse_constant)
            else:
                value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        raise JsonError(f"The body is not valid JSON at position {error.pos}") from None
    except JsonError:
        raise
    except ValueError:  # no Unicode, or a number of thousands of digits
        raise JsonError("The body is not valid JSON") from None
    if HALF.search(text) or not is_whole(text):
        check(value)
    return value


def is_long(body: bytes | bytearray) -> bool:
    """Whether a body is to be parsed beside what others wait for."""
    return long_json.is_long(body) or _nests(body) > MOST_NESTS


def _text(body: bytes | bytearray | str) -> str:
    """A body as `json.loads` reads it."""
    if isinstance(body, str):
        return body
    return body.decode(json.detect_encoding(body), "surrogatepass")


def _nests(raw: bytes | bytearray) -> int:
    return raw.count(b"[") + raw.count(b"{")


def check(value: Any) -> None:
    """Judge the strings of a value that is parsed already.

    Raises:
        JsonError: One holds half a character, or the value is nested too deeply.
    """
    try:
        where = half_character(value)
    except RecursionError:
        raise _too_deep() from None
    if where is not None:
        raise JsonError(
            f"{f'`{where}`' if where else 'The body'} contains a lone surrogate (half a character)",
            code="lone_surrogate",
            param=where.split("[")[0] or None,
        )


def _bound_nests(body: bytes | bytearray | str) -> None:
    """Refuse lists and objects by the hundred thousand: nothing takes longer to parse."""
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    if _nests(raw) <= MOST_NESTS:
        return
    # In strings they are letters: what stands outside of quotes counts.
    nests, last = 0, 0
    for number, text in enumerate(QUOTED.finditer(raw)):
        if number % TEXTS_AT_ONCE == 0:
            pace()
        nests += _nests(raw[last : text.start()])
        last = text.end()
        if nests > MOST_NESTS:
            break
    if nests + _nests(raw[last:]) > MOST_NESTS:
        raise JsonError(f"The body contains more than {MOST_NESTS} lists and objects")


@contextmanager
def _no_collections() -> Iterator[None]:
    """Look for no garbage meanwhile: of many lists that takes four times as long as to parse."""
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


def _too_deep() -> JsonError:
    return JsonError("The body is nested too deeply")


def _refuse_constant(name: str) -> float:
    raise JsonError(f"{name} is not JSON; numbers must be finite")
