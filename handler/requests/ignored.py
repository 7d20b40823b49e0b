"""Names of a request's unknown fields, in a header that can hold any name.

Imports nothing heavy: the gateway loads it too.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, unquote

HEADER = "x-ignored-fields"
MAX_NAMES = 8
MAX_BYTES = 256


def together(values: Iterable[str]) -> str:
    """The names of several such headers in one, each of them once."""
    return header_value(
        unquote(name) for name in dict.fromkeys(",".join(values).split(",")) if name
    )


def header_value(names: Iterable[str]) -> str:
    """The names by commas, percent-encoded to ASCII: names are the client's, of any characters.

    At most MAX_NAMES of them and MAX_BYTES, the rest is left out; a first name that is longer by
    itself is cut.
    """
    value = ""
    for number, name in enumerate(names):
        # A character has at least a byte: more of them would be cut in any case.
        encoded = quote(name[:MAX_BYTES].encode("utf-8", "surrogatepass"), safe="")
        if not number:
            value = _cut(encoded)
        elif number == MAX_NAMES or len(value) + 1 + len(encoded) > MAX_BYTES:
            break
        else:
            value += f",{encoded}"
    return value


def _cut(encoded: str) -> str:
    """At most MAX_BYTES of it, and no part of an escape."""
    cut = encoded[:MAX_BYTES]
    is_broken = cut.endswith("%") or cut[-2:-1] == "%"
    return cut[: cut.rfind("%")] if is_broken else cut
