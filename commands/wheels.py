"""`./scripts/wheels`: downloads packages for machines without a network."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import tempfile
from pathlib import Path

from commands.environment import Environment
from commands.errors import CommandError
from commands.groups import Groups
from commands.installing import renew_pip
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
        description="Downloads wheels into a directory, for --offline DIR of the other commands.",
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
    directory = options.directory.resolve()
    torch = groups.pin(TORCH)
    with tempfile.TemporaryDirectory() as scratch:
        lock = Path(scratch) / groups.lock.name
        shutil.copy(groups.lock, lock)
        try:
            renew_pip(environment, pip, groups)
            if torch in requirements:
                source = source_of_torch(pip, environment.python, torch)
                pip.run("download", "--dest", str(directory), *source.options, torch)
                _hold_to_what_came(lock, torch, directory)
            to, beside = ("--dest", str(directory)), ("--find-links", directory.as_uri())
            constraints = ("--require-hashes", "-c", str(lock))
            wanted = (groups.pin("pip"), *requirements)
            pip.run("download", *to, *beside, *constraints, *wanted)
        except PipError as error:
            raise environment.failed(error) from None
    say(f"{directory} has the wheels for {', '.join(options.groups)}")
    return 0


def _hold_to_what_came(lock: Path, torch: str, directory: Path) -> None:
    """Give torch's line of a copy of the lock the hash of the file that its index gave."""
    version = torch.partition("==")[2]
    hashes = []
    for wheel in directory.glob(f"{TORCH}-{version}*.whl"):
        with wheel.open("rb") as file:
            hashes.append(f"--hash=sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}")
    words = lock.read_text(encoding="utf-8")
    lock.write_text(words.replace(f"\n{torch}\n", f"\n{torch} {' '.join(hashes)}\n"), "utf-8")
