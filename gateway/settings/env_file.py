"""Reads `.env` files as python-dotenv does.

Not by python-dotenv itself: ./scripts/serve looks at the settings before anything is installed.
tests/gateway/settings/test_env_file.py compares the two.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from pathlib import Path

# One `NAME=value`, blanks and comments before and behind it included; nothing is tried twice.
BINDING = re.compile(
    r"""
    \s*+
    (?: (?>export[^\S\r\n]+)?+
        (?: '(?P<quoted_name>[^']+)' | (?P<name>[^=\#\s'][^=\#\s]*+) | (?=\#) )
        [^\S\r\n]*+
        (?P<equals> =
            (?: [^\S\r\n]++ (?=\#)
              | [^\S\r\n]*+
                (?: '(?P<single>(?:\\.|[^'\\])*+)'
                  | "(?P<double>(?:\\.|[^"\\])*+)"
                  | (?!['"]) (?P<plain>[^\r\n]*+)
                )
            )
        )?+
        (?: [^\S\r\n]*+ \#[^\r\n]*+ )?+
        [^\S\r\n]*+
    )?+
    (?: \r\n | \n | \r | \Z )
    """,
    re.VERBOSE | re.DOTALL,
)
VARIABLE = re.compile(r"\$\{(?P<name>[^}:]*)(?::-(?P<default>[^}]*))?\}")
# The longer marks first: UTF-32's begins with UTF-16's.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class EnvFileError(Exception):
    """What is wrong with a file; one line that does not name it."""


def read(path: Path, environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return what a file gives each name: None to one without a `=`. No file gives nothing.

    Raises:
        EnvFileError: It cannot be read, or a line of it.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise EnvFileError(f"cannot be read: {error.strerror}") from None
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), "utf-8-sig")
    try:
        return parse(data.decode(encoding), environment)
    except UnicodeDecodeError:
        raise EnvFileError("is not UTF-8: save it as such") from None


def parse(text: str, environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return what a text gives each name; `${NAME}` is what stands above, else the environment's.

    Raises:
        EnvFileError: A line is none of `NAME=value`, a comment and a blank one.
    """
    values: dict[str, str | None] = {}
    position = 0
    while position < len(text):
        found = BINDING.match(text, position)
        if found is None:
            above = text[: len(text) - len(text[position:].lstrip())]
            line = len(re.findall(r"\r\n|\n|\r", above)) + 1
            raise EnvFileError(f"line {line} is neither NAME=value nor a comment")
        position = found.end()
        name = found["quoted_name"] or found["name"]
        if name is not None:
            value = _value(found)
            values[name] = None if value is None else _fill_in(value, {**environment, **values})
    return values


def _value(found: re.Match[str]) -> str | None:
    if found["equals"] is None:
        return None
    if found["single"] is not None:
        return re.sub(r"\\[\\']", _unescape, found["single"])
    if found["double"] is not None:
        return re.sub(r"\\[\\'\"abfnrtv]", _unescape, found["double"])
    return re.sub(r"\s+#.*", "", found["plain"] or "").rstrip()


def _unescape(found: re.Match[str]) -> str:
    return codecs.decode(found[0], "unicode-escape")


def _fill_in(value: str, known: Mapping[str, str | None]) -> str:
    return VARIABLE.sub(lambda found: known.get(found["name"], found["default"] or "") or "", value)
