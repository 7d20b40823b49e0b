"""The dependency groups of pyproject.toml, and what requirements.lock pins."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from commands import sizes


class Groups:
    """Requirements by purpose."""

    def __init__(self, root: Path) -> None:
        self.lock = root / "requirements.lock"
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        self._groups: dict[str, list[str | dict[str, str]]] = project["dependency-groups"]

    @property
    def names(self) -> list[str]:
        """All of them."""
        return list(self._groups)

    def requirements(self, names: Iterable[str]) -> list[str]:
        """Return the requirements of these groups and of those that they include, each once."""
        found: dict[str, None] = {}
        for name in names:
            for entry in self._groups[name]:
                lines = (
                    [entry]
                    if isinstance(entry, str)
                    else self.requirements([entry["include-group"]])
                )
                found.update(dict.fromkeys(lines))
        return list(found)

    @property
    def pins(self) -> dict[str, str]:
        """What the lock pins: `name==version` by name."""
        words = (line.split()[:1] for line in self.lock.read_text(encoding="utf-8").splitlines())
        found = [word for [word] in filter(None, words) if "==" in word]
        return {_name(pin): pin for pin in found}

    @property
    def constraints(self) -> tuple[str, ...]:
        """Options of pip: these versions, and no file whose hash is not in the lock."""
        return ("--require-hashes", "-c", str(self.lock))

    def requirement(self, package: str) -> str:
        """Return the lock's lines of a package: `name==version` with its hashes."""
        lines = self.lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        return next(line for line in lines if "==" in line and _name(line) == _name(package))

    def pin(self, package: str) -> str:
        """Return `name==version` of a package."""
        return self.pins[package]

    def digest(self, names: Iterable[str]) -> str:
        """Return a hash of all that decides what is installed for these groups."""
        names = list(names)
        brought = sizes.packages(names)
        pins = [pin for name, pin in self.pins.items() if name in brought]
        return hashlib.sha256("\n".join(self.requirements(names) + pins).encode()).hexdigest()[:16]


def _name(pin: str) -> str:
    """The package of a pin, as sizes.json spells it."""
    return re.sub(r"[-_.]+", "-", pin.partition("==")[0]).lower()
