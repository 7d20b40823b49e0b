"""`./scripts/wheels`: fetches what commands install, for machines without a network."""

from __future__ import annotations

import argparse
from pathlib import Path

from commands.environment import Environment
from commands.errors import CommandError
from commands.groups import Groups
from commands.pip import PipError
from commands.terminal import say
from commands.torch_build import TORCH, source_of_torch

ROOT = Path(__file__).resolve().parent.parent
GROUPS = ("serve", "package")
# The engine is built with it when the first model is packed.
COMPILER = "compile"
EXAMPLES = """\
examples:
  ./scripts/wheels wheels                         what ./scripts/serve needs
  ./scripts/wheels wheels --groups serve,train    and so on: the groups of pyproject.toml
  ./scripts/serve --offline wheels                on the machine without a network
The other machine must have the same system, processor and version of Python.
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    result = argparse.ArgumentParser(
        prog="wheels",
        description="Fetches wheels into a directory, for --offline DIR of the other commands.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("directory", type=Path, metavar="DIR", help="where to put them")
    result.add_argument(
        "--groups",
        type=lambda given: tuple(given.split(",")),
        default=GROUPS,
        metavar="NAMES",
        help=f"dependency groups of pyproject.toml (default: {','.join(GROUPS)})",
    )
    return result


def run(options: argparse.Namespace, environment: Environment) -> int:
    """Fetch them.

    Raises:
        CommandError: There is no such group, or pip failed.
    """
    groups = Groups(ROOT)
    unknown = [name for name in options.groups if name not in groups.names]
    if unknown:
        raise CommandError(
            f"--groups: there is no group {unknown[0]}; there are {', '.join(groups.names)}"
        )
    requirements = groups.requirements([*options.groups, COMPILER])
    pip = environment.prepare()
    directory = str(options.directory.resolve())
    constraints = ("-c", str(groups.lock))
    torch = groups.pin(TORCH)
    try:
        if torch in requirements:
            source = source_of_torch(pip, environment.python, torch, groups.lock)
            pip.run("download", "--dest", directory, *source.options, torch)
        pip.run(
            "download",
            "--dest",
            directory,
            "--find-links",
            directory,
            *constraints,
            groups.pin("pip"),
            *requirements,
        )
    except PipError as error:
        raise environment.failed(error) from None
    say(f"{directory} has the wheels for {', '.join(options.groups)}")
    return 0
