"""Paths as Java's readers want them written."""

from __future__ import annotations

import os
import re
from pathlib import Path


def is_readable_by_java(path: Path) -> bool:
    """Whether Java can open the path: a name that is not UTF-8 it cannot even hold."""
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def java_pattern(path: Path) -> str:
    """Return a regular expression of Java's that fits this path alone."""
    return re.escape(os.fsencode(path).decode("utf-8"))


def java_property(text: str) -> str:
    """Return a value for a `.properties` file: Latin-1, with escapes of its own for the rest."""
    units = text.encode("utf-16-be")
    codes = [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
    return "".join(_property_letter(code) for code in codes)


def _property_letter(code: int) -> str:
    letter = chr(code)
    if letter == "\\":
        return r"\\"
    return letter if "!" <= letter <= "~" else f"\\u{code:04x}"
