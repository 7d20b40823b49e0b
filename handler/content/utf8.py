r"""Text that UTF-8 can encode, at the edges where it comes in and goes out.

JSON can spell half a character (`"\ud800"`, a lone surrogate), which has none: nothing that encodes
or compares text can hold it. It is refused where it comes in, and whoever writes text that he has
not judged himself writes U+FFFD in its place.
"""

from __future__ import annotations

import re
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_SHOWN = 64
_AT_ONCE = 8192


def is_whole(text: str) -> bool:
    """Whether a text has no half characters."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def repaired(text: str) -> str:
    """Return the text with U+FFFD in the place of half characters."""
    return text if is_whole(text) else _SURROGATE.sub("\ufffd", text)


def encoded(text: str) -> bytes:
    """Return the UTF-8 of any text, whoever made it."""
    return repaired(text).encode("utf-8")


def half_character(value: Any) -> str | None:
    """Name the field of a JSON value that holds half a character, as `stop[1]`; None if none does.

    `value` itself is called "", and a key that holds one by the object it is in.

    Raises:
        RecursionError: The value is nested too deeply.
    """
    if _holds_whole(value):
        return None
    found: list[tuple[str, Any]] = [("", value)]
    while found:
        path, item = found.pop()
        if isinstance(item, str) and not is_whole(item):
            return path
        if isinstance(item, dict):
            if not is_whole("".join(item)):
                return path
            found += [(_joined(path, f".{key}"), each) for key, each in reversed(item.items())]
        elif isinstance(item, list):
            found += [
                (_joined(path, f"[{index}]"), item[index])
                for index in range(len(item) - 1, -1, -1)
                if isinstance(item[index], (str, list, dict))
            ]
    return None


def _holds_whole(value: Any) -> bool:
    """Whether all strings of a value are whole: in C, but chunk by chunk, as it may be long."""
    if isinstance(value, dict):
        return is_whole("".join(value)) and all(map(_holds_whole, value.values()))
    if not isinstance(value, list):
        return not isinstance(value, str) or is_whole(value)
    if any(isinstance(each, (list, dict)) for each in value):
        return all(map(_holds_whole, value))
    parts = (value[at : at + _AT_ONCE] for at in range(0, len(value), _AT_ONCE))
    return all(is_whole("".join(each for each in part if isinstance(each, str))) for part in parts)


def _joined(path: str, name: str) -> str:
    return (path + name).lstrip(".")[:_MOST_SHOWN]
