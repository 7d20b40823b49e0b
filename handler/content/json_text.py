"""JSON as replies have it: compact, characters as they are."""

from __future__ import annotations

import json
from typing import Any

# `json.dumps` with these settings would make a new encoder for each chunk of each stream.
to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
AT_ONCE = 64


def to_json_in_pieces(value: Any) -> str:
    """As `to_json`, of a value that may be long: Python's lock is not kept all the time."""
    if isinstance(value, dict):
        pairs = (f"{to_json(key)}:{to_json_in_pieces(each)}" for key, each in value.items())
        return "{" + ",".join(pairs) + "}"
    if not isinstance(value, list):
        return to_json(value)
    if any(isinstance(each, list) or _holds_lists(each) for each in value):
        return "[" + ",".join(map(to_json_in_pieces, value)) + "]"
    starts = range(0, len(value), AT_ONCE)
    return "[" + ",".join(to_json(value[at : at + AT_ONCE])[1:-1] for at in starts) + "]"


def _holds_lists(value: Any) -> bool:
    return isinstance(value, dict) and any(
        isinstance(each, (list, dict)) for each in value.values()
    )
