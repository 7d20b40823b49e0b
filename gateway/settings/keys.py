"""Reads keys as a setting or a file spells them: text, compared in UTF-8 (headers: web/auth.py).

Needs nothing but Python: deploying reads the same files.
"""

from __future__ import annotations

from collections.abc import Iterable

from handler.content.utf8 import is_whole

BLANKS = " \t\r\n"
HOW = "API_KEYS must be `name:key`, separated by commas, each name once"


class KeyFault(Exception):
    """A key that could never open anything; says which, never what it is."""


def lines_of(name: str, content: bytes) -> list[str]:
    """Return the lines of a key file that are no comments.

    Raises:
        KeyFault: It is not UTF-8.
    """
    # Not `splitlines`: a key may hold what Unicode calls the end of a line.
    lines = [line.strip(BLANKS) for line in text_of(name, content).split("\n")]
    return [line for line in lines if line and not line.startswith("#")]


def text_of(name: str, content: bytes) -> str:
    """Return the text of a file that holds a secret.

    Raises:
        KeyFault: It is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")  # some editors write a mark before the first key
    except UnicodeDecodeError:
        raise KeyFault(f"{name} must contain UTF-8 text") from None


def named_keys(entries: Iterable[str]) -> dict[str, str]:
    """Take `name:key` apart; a key without a name is called by its number.

    Raises:
        KeyFault: A name occurs twice, or a key is invalid.
    """
    named: dict[str, str] = {}
    for number, entry in enumerate(entries, 1):
        name, colon, key = entry.partition(":")
        if not colon:
            name, key = f"key-{number}", entry
        if not key or not name or name in named:
            raise KeyFault(HOW)
        if not (is_whole(name) and name.isprintable()):
            raise KeyFault(
                f"API_KEYS: the name of key {number} contains characters that cannot be printed"
            )
        if "," in key:
            raise KeyFault(
                f"API_KEYS: the key of `{name}` contains a comma; put one key on each line"
            )
        judge(key, f"API_KEYS: the key of `{name}`")
        named[name] = key
    return named


def judge(key: str, who: str) -> None:
    """Refuse a key that no header can carry.

    Raises:
        KeyFault: Says in the words of `who` what is wrong.
    """
    if not is_whole(key):
        raise KeyFault(f"{who} is not UTF-8")
    if key != key.strip(BLANKS):
        raise KeyFault(f"{who} begins or ends with a space, which no header can contain")
    if any(character < " " or character == "\x7f" for character in key):
        raise KeyFault(
            f"{who} contains a control character or a line break, which no header can contain"
        )


def from_header(value: str) -> str:
    """Return the key in a header's value, which was read byte by byte (Latin-1).

    It is UTF-8. Some clients can send nothing but Latin-1: bytes that are no UTF-8 are that, since
    they can be nothing else.
    """
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return value
