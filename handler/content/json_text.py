"""JSON as replies have it: compact, characters as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from handler.workshop import pace

# `json.dumps` with these settings would make a new encoder for each chunk of each stream.
to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
# Of a list's objects, and of its other items, what is written in one chunk: half a millisecond.
AT_ONCE = 64
SCALARS_AT_ONCE = 4096


def to_json_in_chunks(value: Any) -> str:
    """As `to_json`, of a value that may be long: Python's lock is not kept all the time."""
    if isinstance(value, dict):
        pairs = (f"{to_json(key)}:{to_json_in_chunks(each)}" for key, each in value.items())
        return "{" + ",".join(pairs) + "}"
    if not isinstance(value, list):
        return to_json(value)
    if any(isinstance(each, list) or _holds_lists(each) for each in value):
        return "[" + ",".join(map(to_json_in_chunks, value)) + "]"
    return "[" + ",".join(_parts(value)) + "]"


def _parts(values: list[Any]) -> Iterator[str]:
    at_once = AT_ONCE if any(isinstance(each, dict) for each in values) else SCALARS_AT_ONCE
    for at in range(0, len(values), at_once):
        if at:
            pace()
        yield to_json(values[at : at + at_once])[1:-1]


def _holds_lists(value: Any) -> bool:
    return isinstance(value, dict) and any(
        isinstance(each, (list, dict)) for each in value.values()
    )
