"""Parses and validates the text of a setting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.settings.keys import BLANKS
from gateway.settings.sources import SettingsError


def parse(name: str, text: str, default: object, declared: Mapping[str, Any]) -> object:
    """Return the value of the setting `name`, of its default's type.

    Raises:
        SettingsError: The text is none of what is allowed.
    """
    names_file = isinstance(default, Path) or name.endswith(("_FILE", "_ARCHIVE"))
    if not names_file and not declared["secret"]:
        # Docker's --env-file hands the comment behind a value on; a file may be called `a #b`.
        text = re.sub(r"\s+#.*", "", text)
    if isinstance(default, bool):
        words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
        if text.lower() not in words:
            raise SettingsError(f"{name} must be true or false, not {text!r}")
        return words[text.lower()]
    if isinstance(default, (int, float)):
        return _parse_number(name, text, default, declared)
    if isinstance(default, tuple):
        parts = (part.strip(BLANKS) for part in text.split(","))
        return tuple(part for part in parts if part)
    if isinstance(default, Path) or name.endswith("_FILE"):
        return Path(text)
    if declared["choices"] and text not in declared["choices"]:
        raise SettingsError(f"{name} must be one of {', '.join(declared['choices'])}, not {text!r}")
    return text


def _parse_number(
    name: str, text: str, default: int | float, declared: Mapping[str, Any]
) -> int | float:
    kind, word = (int, "a whole number") if isinstance(default, int) else (float, "a number")
    least, most = declared["least"], declared["most"]
    if isinstance(default, int) and name.endswith("_SECONDS"):
        kind, word = float, "a number"
    bounds = f" from {least:.15g}" if least is not None else ""  # of millions all digits
    bounds += f" to {most:.15g}" if most is not None else ""
    try:
        number = kind(text)
    except ValueError:
        raise SettingsError(f"{name} must be {word}{bounds}, not {text!r}") from None
    if (
        not (float("-inf") if least is None else least)
        <= number
        <= (float("inf") if most is None else most)
    ):
        raise SettingsError(f"{name} must be {word}{bounds}, not {text!r}")
    return number
