"""The sizes of dependency groups, shown before they are installed.

The figures lie in sizes.json, which `python -m commands.measure` makes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parent / "sizes.json"
# An environment without packages: pip, as Python brings it and as it is pinned.
EMPTY = (2.0, 15.0)


@dataclass(frozen=True)
class Size:
    """MB: what is fetched, and what is left on the disk."""

    fetched: int
    left: int


def of(groups: Iterable[str], there: Iterable[str] = ()) -> Size:
    """Return what these groups bring where those of `there` are installed already."""
    there = tuple(there)
    figures = _known()["packages"]
    pairs = [figures[name] for name in packages(groups) - packages(there)]
    pairs += [] if there else [EMPTY]
    return Size(round(sum(pair[0] for pair in pairs)), round(sum(pair[1] for pair in pairs)))


def packages(groups: Iterable[str]) -> set[str]:
    """Return the packages that these groups bring; none of a group that nobody measured."""
    known = _known()["groups"]
    return {package for group in groups for package in known.get(group, ())}


def _known() -> dict[str, Any]:
    known: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return known
