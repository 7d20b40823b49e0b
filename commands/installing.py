"""Installs dependency groups of pyproject.toml into an environment, on top of what is there."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from commands import sizes
from commands.environment import Environment
from commands.groups import Groups
from commands.pip import Pip, PipError
from commands.torch_build import TORCH, install_torch

# What the tests and the linter take.
ALL_GROUPS = ("serve", "package", "convert", "train", "bench", "deploy", "docs", "test")


def parser() -> argparse.ArgumentParser:
    """The options of `install`, which the Dockerfile runs."""
    result = argparse.ArgumentParser(
        prog="install", description="Installs dependency groups of pyproject.toml into .venv."
    )
    result.add_argument("groups", nargs="+", metavar="GROUP", help="serve, package, torch ...")
    return result


def ensure(environment: Environment, root: Path, names: Sequence[str]) -> None:
    """Have the groups of these names installed, at the pinned versions.

    Raises:
        CommandError: There is no room, or pip failed.
    """
    groups = Groups(root)
    there = environment.digests()
    missing = tuple(name for name in names if there.get(name) != groups.digest([name]))
    if not missing:
        return
    install(environment, groups, missing, tuple(there))


def install(
    environment: Environment, groups: Groups, missing: tuple[str, ...], there: tuple[str, ...]
) -> None:
    """Install groups beside those that are there."""
    environment.announce(missing, sizes.of(missing, there))
    pip = environment.prepare()
    requirements = groups.requirements(missing)
    torch = groups.pin(TORCH)
    try:
        renew_pip(environment, pip, groups)
        if torch in requirements:
            # Before anything that depends on it, or pip would choose the build.
            install_torch(pip, environment.python, torch, environment.packages)
        pip.run("install", *groups.constraints, *requirements)
    except PipError as error:
        raise environment.failed(error) from None
    environment.record({name: groups.digest([name]) for name in missing})


def renew_pip(environment: Environment, pip: Pip, groups: Groups) -> None:
    """Have the pinned pip: older ones heed hashes in files of requirements alone."""
    wanted = environment.place / "pip.txt"
    wanted.write_text(groups.requirement("pip") + "\n", encoding="utf-8")
    pip.run("install", "--require-hashes", "-r", str(wanted))
