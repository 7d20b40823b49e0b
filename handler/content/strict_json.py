"""Reads JSON as RFC 8259 has it, for the gateway and the handler alike: one place that judges."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from handler.content.utf8 import half_character
from handler.workshop import pace

# A prompt of 96 lists of ids has 97.
MOST_NESTS = 10_000


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
        with _no_collections():
            value = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        raise JsonError(f"The body is not valid JSON at position {error.pos}") from None
    except JsonError:
        raise
    except ValueError:  # no Unicode, or a number of thousands of digits
        raise JsonError("The body is not valid JSON") from None
    escape = "\\u" if isinstance(body, str) else b"\\u"
    if escape in body or not body.isascii():  # type: ignore[operator]
        check(value)
    return value


def check(value: Any) -> None:
    """Judge the texts of a value that is parsed already.

    Raises:
        JsonError: One holds half a character, or the value is nested too deeply.
    """
    try:
        where = half_character(value)
    except RecursionError:
        raise _too_deep() from None
    if where is not None:
        raise JsonError(
            f"{f'`{where}`' if where else 'The body'} holds half a character (a lone surrogate)",
            code="lone_surrogate",
            param=where.split("[")[0] or None,
        )


def _bound_nests(body: bytes | bytearray | str) -> None:
    """Refuse lists and objects by the hundred thousand: nothing takes longer to parse."""
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    if raw.count(b"[") + raw.count(b"{") <= MOST_NESTS:
        return
    # In texts they are letters: what stands outside of quotes counts.
    bare = b"".join(raw.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
    if bare.count(b"[") + bare.count(b"{") > MOST_NESTS:
        raise JsonError(f"The body holds more than {MOST_NESTS} lists and objects")


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
