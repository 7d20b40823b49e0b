"""Installs packages that only unusual checkpoints need (transformers, torch), on demand."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

from archive.errors import CheckpointError
from commands.environment import Environment
from commands.errors import CommandError
from commands.installing import ensure

ROOT = Path(__file__).resolve().parent.parent
GROUP = "convert"


def need(package: str, what: str) -> None:
    """Have a package of the group installed, for `what` is read with it.

    Raises:
        CheckpointError: It cannot be installed, or this Python is not the project's own.
    """
    if importlib.util.find_spec(package) is not None:
        return
    environment = Path(sys.prefix)
    if environment.parent != ROOT:
        raise CheckpointError(f"{what} needs {package}, which is not installed")
    try:
        ensure(Environment(environment), ROOT, [GROUP])
    except CommandError as error:
        raise CheckpointError(f"{what} needs {package}: {error}") from None
    importlib.invalidate_caches()
