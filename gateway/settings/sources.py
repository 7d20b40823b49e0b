"""The sources of settings: the environment, then `.env.local`, then `.env`.

The environment and the files hold much that is not for us, and names that were mistyped. What is
ignored is reported, and a name one slip from a key's ends the start: it would leave the service
open.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from gateway.settings.env_file import EnvFileError, read
from gateway.settings.keys import BLANKS

FILES = (".env", ".env.local")  # the later one counts more
TRACKED_FILE = ".env"
KEY_NAMES = ("API_KEYS", "API_KEYS_FILE", "MANAGEMENT_KEY", "MANAGEMENT_KEY_FILE")
SECRET_NAMES = ("API_KEYS", "MANAGEMENT_KEY", "GPT2_API_KEY", "GPT2_MANAGEMENT_KEY")
CLIENT_NAMES = ("GPT2_URL", "GPT2_MANAGEMENT_URL", "GPT2_API_KEY", "GPT2_MANAGEMENT_KEY")
# One letter away from a key's name, and other programs' all the same: with a word before API, or a
# number behind.
OTHERS = re.compile(
    r"\w+[_-]API_?KEYS?(_?FILES?)?|(APP|AI|AMI|APIM|APN|PI|UPI|[A-Z]API)_?KEYS?(_?FILES?)?|.*\d"
)
# What Kubernetes sets for a Service of that name, and Docker for a link.
SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://", re.IGNORECASE)

Report = Callable[[str], None]


class SettingsError(Exception):
    """A setting that cannot be used; one line that names it and what is allowed."""


def gather(
    known: Collection[str], environment: Mapping[str, str], folder: Path, report: Report
) -> dict[str, str]:
    """Return what was given for the settings `known`; what is ignored is reported.

    Raises:
        SettingsError: A file cannot be read, or a name is one slip from a key's.
    """
    given: dict[str, str] = {}
    for name in FILES:
        try:
            found = read(folder / name, environment)
        except EnvFileError as error:
            raise SettingsError(f"{name} {error}") from None
        _refuse_slips(known, found, name)
        _report_on_file(known, found, name, report)
        given |= {key: value or "" for key, value in found.items() if key in known}
    _refuse_slips(known, environment, "the environment")
    for name in known:
        if name not in environment:
            continue
        value = unquote(environment[name])
        if is_foreign(name, value):
            shown = "..." if "@" in value else value  # no password of an URL
            report(f"{name}={shown} belongs to another program and is ignored{_hint(name)}")
        else:
            given[name] = value
    return given


def unquote(value: str) -> str:
    """Return a value without the quotes that Docker's `--env-file` leaves around it."""
    value = value.strip(BLANKS)
    is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1].strip(BLANKS) if is_quoted else value


def is_foreign(name: str, value: str) -> bool:
    """Return whether a value of the environment cannot be meant for us, whatever its name.

    Conda's compilers and some shells set HOST to the machine's kind or name; one that could be an
    address to listen on is ours, and wrong.
    """
    if SERVICE_LINK.match(value):
        return name not in KEY_NAMES  # ignored, it would leave the service open
    return name == "HOST" and bool(value) and "://" not in value and not is_address(value)


def is_address(value: str) -> bool:
    """Return whether a value is an address to listen on, with or without a port."""
    name = re.sub(r"^\[(.*)\](:\d*)?$|^([^:]*):\d*$", r"\1\3", value)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in ("", "*", "localhost")
    return True


def meant_key(name: str) -> str | None:
    """Return the name of the key that is one slip away from `name`: a letter, a plural, a blank."""
    name = name.upper().removeprefix("GPT2_")  # as the client's names begin
    if OTHERS.fullmatch(name):
        return None
    return next((key for key in KEY_NAMES if _is_one_slip(name, key)), None)


def _hint(name: str) -> str:
    return "; BIND is the address to listen on" if name == "HOST" else ""


def _refuse_slips(known: Collection[str], given: Mapping[str, str | None], where: str) -> None:
    for name, value in given.items():
        meant = None if name in known or name in CLIENT_NAMES or not value else meant_key(name)
        if meant:
            raise SettingsError(
                f"{name} in {where} is not a setting; did you mean {meant}? Rename it or remove it"
            )


def _report_on_file(
    known: Collection[str], found: Mapping[str, str | None], file: str, report: Report
) -> None:
    for name, value in found.items():
        if name not in known and name not in CLIENT_NAMES:
            close = difflib.get_close_matches(name.upper(), known, n=1)
            hint = (
                f"did you mean {close[0]}?" if close else "python -m gateway --settings lists them"
            )
            report(f"{file}: {name} is not a setting; {hint}")
        elif value is None:
            report(f"{file}: {name} has no = and sets nothing")
        elif value and name in SECRET_NAMES and file == TRACKED_FILE:
            report(f"{file} is tracked by git: {name} belongs in .env.local, which is not")


def _is_one_slip(name: str, key: str) -> bool:
    mine, theirs = (re.sub("[^A-Z]", "", text) for text in (name, key))
    return _is_one_edit(mine, theirs) or _is_one_edit(_singular(mine), _singular(theirs))


def _singular(name: str) -> str:
    return re.sub("(KEY|FILE)S", r"\1", name)


def _is_one_edit(one: str, other: str) -> bool:
    """Return whether they differ by one letter more, less, other or swapped with its neighbour."""
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    if start is None:
        return abs(len(one) - len(other)) <= 1
    mine, theirs = one[start:], other[start:]
    swapped = mine[1:2] + mine[:1]
    return theirs in (mine[1:], theirs[:1] + mine[1:], swapped + mine[2:]) or mine == theirs[1:]
