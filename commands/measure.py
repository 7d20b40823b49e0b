"""Writes sizes.json: `python -m commands.measure LOG...` in an environment that has all groups.

What each package leaves is what is installed here; what is fetched for it stands in pip's words, in
the logs of set-ups that are named. A package that no log names keeps its figure.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from commands.groups import Groups
from commands.sizes import FILE

ROOT = Path(__file__).resolve().parent.parent
FETCHED = re.compile(
    r"(?:Downloading|Using cached) (\S+?)-\d\S*\.(?:whl|tar\.gz) \(([\d.]+) (\w+)\)"
)
LOCAL = re.compile(r"^ *Processing (/\S+)", re.MULTILINE)
MEGABYTES = {"kB": 0.001, "MB": 1.0, "GB": 1000.0, "bytes": 0.000001}


def closure(requirements: Iterable[str]) -> set[str]:
    """Return the packages that these requirements bring on this machine."""
    found: set[str] = set()
    waiting = [(Requirement(line), frozenset({""})) for line in requirements]
    while waiting:
        requirement, extras = waiting.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in extras
        ):
            continue
        if name in found and not requirement.extras:
            continue
        found.add(name)
        needed = importlib.metadata.requires(name) or []
        asked = frozenset({"", *requirement.extras})
        waiting += [(Requirement(line), asked) for line in needed]
    return found


def left_by(package: str) -> float:
    """Return the MB that a package takes on the disk."""
    files = importlib.metadata.files(package) or []
    paths = [Path(str(file.locate())) for file in files]
    return sum(path.stat().st_blocks * 512 for path in paths if path.is_file()) / 1e6


def fetched_by(logs: Iterable[Path]) -> dict[str, float]:
    """Return the MB that was fetched for each package, as pip said it."""
    found: dict[str, float] = {}
    for log in logs:
        words = log.read_text(encoding="utf-8")
        for name, figure, unit in FETCHED.findall(words):
            found[canonicalize_name(name)] = float(figure) * MEGABYTES[unit]
        for path in map(Path, LOCAL.findall(words)):
            if path.is_file():
                found[canonicalize_name(path.name.partition("-")[0])] = path.stat().st_size / 1e6
    return found


def measure(logs: Iterable[Path]) -> dict[str, dict[str, list[object]]]:
    """Return what goes into sizes.json."""
    before = json.loads(FILE.read_text(encoding="utf-8"))["packages"] if FILE.exists() else {}
    groups = Groups(ROOT)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    closures = {
        name: sorted(closure(groups.requirements([name])))
        for name in project["dependency-groups"]
        if name != "compile"
    }
    fetched = fetched_by(logs)
    packages = {}
    for name in sorted(set().union(*closures.values())):
        figure = fetched.get(name, before.get(name, [0.0])[0])
        packages[name] = [round(figure, 1), round(left_by(name), 1)]
    return {"groups": closures, "packages": packages}


if __name__ == "__main__":
    sizes = measure(map(Path, sys.argv[1:]))
    lines = ['{"groups": {']
    lines += [",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in sizes["groups"].items())]
    lines += ['}, "packages": {']
    lines += [
        ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in sizes["packages"].items())
    ]
    FILE.write_text("\n".join([*lines, "}}"]) + "\n", encoding="utf-8")
