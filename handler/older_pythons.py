"""Features of Python 3.10 and 3.11, for archives on the older versions of TorchServe's images.

Everything below `handler/` runs on Python 3.9: TorchServe's own images have it.
"""

from __future__ import annotations

import re
import sys
from typing import AnyStr

# For `dataclass`.
SLOTS: dict[str, bool] = {"slots": True} if sys.version_info >= (3, 10) else {}

_POSSESSIVE = re.compile(r"([*+?}])\+")


def possessive(pattern: AnyStr) -> AnyStr:
    """Return a regular expression that tries nothing twice, as far as this Python can say that.

    For patterns that match the same either way: then it is but slower for what does not match.
    """
    if sys.version_info >= (3, 11):
        return pattern
    if isinstance(pattern, bytes):
        return _POSSESSIVE.sub(r"\1", pattern.decode("ascii")).encode("ascii")
    return _POSSESSIVE.sub(r"\1", pattern)
