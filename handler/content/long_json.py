"""Parses JSON of very many values chunk by chunk: Python's lock is let go, and a step may come.

`json.loads` keeps the lock for 17 ms of a megabyte of numbers, and everybody waits for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from handler.older_pythons import possessive
from handler.workshop import pace

# Values that are parsed in one chunk: a fraction of a millisecond.
AT_ONCE = 2048
BLANK = possessive(r"[ \t\n\r]*+")
NUMBER = possessive(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][-+]?[0-9]++)?+")
TEXT = possessive(r'"[^"\\\x00-\x1f]*+"')
SCALAR = rf"(?:{NUMBER}|{TEXT}|true|false|null)"
# Scalars, each with the comma behind it; nothing that matches can be refused as JSON.
ITEMS = re.compile(possessive(rf"(?:{BLANK}{SCALAR}{BLANK},){{1,{AT_ONCE}}}+"))
PAIRS = re.compile(possessive(rf"(?:{BLANK}{TEXT}{BLANK}:{BLANK}{SCALAR}{BLANK},){{1,{AT_ONCE}}}+"))
BLANKS = re.compile(BLANK)


def is_long(body: bytes | bytearray | str) -> bool:
    """Whether a body may hold more values than one chunk."""
    return body.count("," if isinstance(body, str) else b",") > AT_ONCE  # type: ignore[arg-type]


def loads(text: str, parse_constant: Callable[[str], Any]) -> Any:
    """As `json.loads`, of what may be long.

    Raises:
        json.JSONDecodeError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    return _Reader(text, parse_constant).whole()


class _Reader:
    """Goes through lists and objects itself, and leaves runs of what they hold to `json`."""

    def __init__(self, text: str, parse_constant: Callable[[str], Any]) -> None:
        self._text = text
        decoder: Any = json.JSONDecoder(parse_constant=parse_constant)
        self._scan: Callable[[str, int], tuple[Any, int]] = decoder.scan_once

    def whole(self) -> Any:
        value, at = self._value(self._skip(0))
        at = self._skip(at)
        if at != len(self._text):
            raise self._fault("Extra data", at)
        return value

    def _value(self, at: int) -> tuple[Any, int]:
        if self._text.startswith("[", at):
            return self._list(at + 1)
        if self._text.startswith("{", at):
            return self._object(at + 1)
        try:
            return self._scan(self._text, at)
        except StopIteration as end:
            raise self._fault("Expecting value", end.value) from None

    def _list(self, at: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        at = self._skip(at)
        if self._text.startswith("]", at):
            return items, at + 1
        while True:
            while run := ITEMS.match(self._text, at):
                pace()
                items += json.loads(f"[{run[0][:-1]}]")
                at = run.end()
            value, at = self._value(self._skip(at))
            items.append(value)
            at, is_end = self._next(at, "]")
            if is_end:
                return items, at

    def _object(self, at: int) -> tuple[dict[str, Any], int]:
        pairs: dict[str, Any] = {}
        at = self._skip(at)
        if self._text.startswith("}", at):
            return pairs, at + 1
        while True:
            while run := PAIRS.match(self._text, at):
                pace()
                pairs |= json.loads(f"{{{run[0][:-1]}}}")
                at = run.end()
            at = self._skip(at)
            if not self._text.startswith('"', at):
                raise self._fault("Expecting property name enclosed in double quotes", at)
            key, at = scanstring(self._text, at + 1, True)
            at = self._skip(at)
            if not self._text.startswith(":", at):
                raise self._fault("Expecting ':' delimiter", at)
            pairs[key], at = self._value(self._skip(at + 1))
            at, is_end = self._next(at, "}")
            if is_end:
                return pairs, at

    def _next(self, at: int, end: str) -> tuple[int, bool]:
        """Where it goes on behind a value, and whether it ended there."""
        at = self._skip(at)
        if self._text.startswith(end, at):
            return at + 1, True
        if not self._text.startswith(",", at):
            raise self._fault("Expecting ',' delimiter", at)
        return at + 1, False

    def _skip(self, at: int) -> int:
        found = BLANKS.match(self._text, at)
        return at if found is None else found.end()

    def _fault(self, message: str, at: int) -> json.JSONDecodeError:
        return json.JSONDecodeError(message, self._text, at)
