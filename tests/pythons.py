"""The Pythons of this machine, for what runs on more of them than the service does."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from tests.patience import PATIENCE

OLDEST, NEWEST = (3, 9), (3, 14)
ALL = os.environ.get("ALL_PYTHONS") == "1"


@cache
def version_of(python: str) -> tuple[int, int] | None:
    """The version of an interpreter that has pip."""
    # Found, not imported: that takes most of a second for them all, wherever tests are collected.
    has_pip = "import importlib.util, sys; assert importlib.util.find_spec('pip')"
    asked = [python, "-Ec", f"{has_pip}; print(*sys.version_info[:2])"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=PATIENCE)
    except OSError:
        return None
    major, minor = map(int, said.stdout.split()) if said.returncode == 0 else (0, 0)
    return major, minor


def pythons() -> dict[tuple[int, int], str]:
    """One interpreter of each version from 3.9 to 3.14 that this machine has, oldest first."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = [str(path) for path in pyenv.glob("3.*/bin/python")]
    places += [f"python3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]
    found = {version: python for python in places if (version := version_of(python))}
    found.setdefault(sys.version_info[:2], sys.executable)
    return {each: found[each] for each in sorted(found) if OLDEST <= each <= NEWEST}


def chosen() -> list[str]:
    """The oldest one; with ALL_PYTHONS=1 each of them."""
    found = list(pythons().values())
    return found if ALL else found[:1]
