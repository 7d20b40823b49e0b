"""Writes the hashes into requirements.lock: `python -m commands.lock` (needs a network).

The versions stay those that stand there; a new one is a line `name==version`. Of each, the hashes
of the files that CPython 3.11 to 3.14 on Linux and macOS can take. What a package asks for there
has to be in the lock too: pip takes nothing without a hash. Only torch has none: its builds lie on
an index of their own, so it is pinned by version and index (commands/torch_build.py).
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.parser import Parser
from itertools import product
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from commands.groups import Groups
from commands.torch_build import TORCH

ROOT = Path(__file__).resolve().parent.parent
INDEX = "https://pypi.org/simple/"
JSON = "application/vnd.pypi.simple.v1+json"
PYTHONS = ("3.11.2", "3.11.9", "3.12.9", "3.13.9", "3.14.2")  # Debian 12's is 3.11.2
PLATFORMS = (
    ("linux", "Linux", "x86_64"),
    ("linux", "Linux", "aarch64"),
    ("darwin", "Darwin", "arm64"),
)
# Interpreter and ABI of a wheel's name.
USED_TAGS = re.compile(r"(py3|py31[1-4])-none|cp3\d+-abi3|(cp31[1-4])-(\2|none)")
USED_PLATFORMS = re.compile(r"any|(many|musl)?linux.*_(x86_64|aarch64)|macosx_.*")
HEADER = """\
# Every version with the hashes of its files: pip install --require-hashes -c requirements.lock ...
# (commands/installing.py). torch has none: its builds lie on an index of their own, and it is
# pinned by version and index. Made by `python -m commands.lock` from the versions that stand here.
"""


class LockError(Exception):
    """What is missing, in a line."""


@dataclass(frozen=True)
class Release:
    """One version of a package: its files' hashes, and what it asks for."""

    pin: str
    hashes: tuple[str, ...]
    needs: tuple[Requirement, ...]

    def lines(self) -> str:
        """Return its lines of the lock."""
        return " \\\n    ".join([self.pin, *(f"--hash=sha256:{each}" for each in self.hashes)])


def fetch(pin: str) -> Release:
    """Ask the index for a version's files.

    Raises:
        LockError: There is none that can be used.
    """
    name, _, version = pin.partition("==")
    page = _get(f"{INDEX}{canonicalize_name(name)}/", JSON)
    files = [each for each in json.loads(page)["files"] if is_used(each["filename"], version)]
    if not files:
        raise LockError(f"{INDEX} has no usable file of {pin}")
    # torch's are not those of the index that it comes from.
    hashes = () if name == TORCH else tuple(sorted(each["hashes"]["sha256"] for each in files))
    return Release(pin, hashes, tuple(_needs(files)))


def is_used(filename: str, version: str) -> bool:
    """Return whether a file is of this version, and for a Python and platform of ours."""
    try:
        if filename.endswith(".whl"):
            _, found, _, tags = parse_wheel_filename(filename)
            fits = any(
                USED_TAGS.fullmatch(f"{tag.interpreter}-{tag.abi}")
                and USED_PLATFORMS.fullmatch(tag.platform)
                for tag in tags
            )
            return str(found) == version and fits
        return str(parse_sdist_filename(filename)[1]) == version
    except (InvalidWheelFilename, InvalidSdistFilename):
        return False


def _needs(files: Iterable[Mapping[str, Any]]) -> Iterator[Requirement]:
    for each in files:
        if each.get("core-metadata") or each.get("data-dist-info-metadata"):
            words = _get(each["url"] + ".metadata").decode("utf-8")
            for line in Parser().parsestr(words).get_all("Requires-Dist") or []:
                yield Requirement(line)
            return


def _get(url: str, accept: str = "*/*") -> bytes:
    asked = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        body: bytes = answer.read()
        return body


def environments() -> Iterator[dict[str, str]]:
    """Yield what markers are evaluated with, for each Python and platform."""
    for version, (system, name, machine) in product(PYTHONS, PLATFORMS):
        yield {
            "python_version": version.rpartition(".")[0],
            "python_full_version": version,
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "os_name": "posix",
            "sys_platform": system,
            "platform_system": name,
            "platform_machine": machine,
            # What the CPU builds of torch do not bring: NVIDIA's packages.
        }


def missing(requirements: Iterable[Requirement], releases: Mapping[str, Release]) -> set[str]:
    """Return what these requirements bring somewhere, and no release is of."""
    found: set[str] = set()
    for environment in environments():
        waiting = [(each, frozenset({""})) for each in requirements]
        seen: set[tuple[str, frozenset[str]]] = set()
        while waiting:
            need, extras = waiting.pop()
            marker = need.marker
            if marker and not any(marker.evaluate({**environment, "extra": x}) for x in extras):
                continue
            name, asked = canonicalize_name(need.name), frozenset({"", *need.extras})
            if name.startswith(("nvidia-", "cuda-")) or name == "triton" or (name, asked) in seen:
                continue  # what a CUDA build of torch asks for, where somebody wants one
            seen.add((name, asked))
            release = releases.get(name)
            if release is None:
                found.add(f"{need} (Python {environment['python_full_version']})")
                continue
            version = release.pin.partition("==")[2]
            if not need.specifier.contains(version, prereleases=True):
                found.add(f"{need}: {version} stands there")
            waiting += [(each, asked) for each in release.needs]
    return found


def main() -> int:
    """Write the lock anew."""
    groups = Groups(ROOT)
    with ThreadPoolExecutor(8) as pool:
        releases = list(pool.map(fetch, groups.pins.values()))
    named: dict[str, Release] = {
        canonicalize_name(each.pin.partition("==")[0]): each for each in releases
    }
    lacks = missing(map(Requirement, groups.requirements(groups.names)), named)
    if lacks:
        raise LockError("the lock lacks " + "; ".join(sorted(lacks)))
    lines = sorted((each.lines() for each in releases), key=str.lower)
    groups.lock.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{groups.lock}: {len(lines)} packages, {sum(len(e.hashes) for e in releases)} hashes")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (LockError, OSError) as error:
        sys.exit(f"error: {error}")
