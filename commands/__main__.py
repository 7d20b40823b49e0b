"""`gpt2-torchserve COMMAND ...`, which each of scripts/ calls as `python -m commands COMMAND ...`.

Options are read, and --help and mistakes answered, before anything is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from commands import processes
from commands.environment import Environment
from commands.errors import CommandError, Stopped
from commands.terminal import say

ROOT = Path(__file__).resolve().parent.parent
# With an older Python, and an environment of its own: see commands/client.py.
CLIENT = "client"
OFFLINE = "--offline"
WRONG_USE = 2
NUMBERS = {"int": "a whole number", "float": "a number"}
READER_IS_GONE = 141  # as a shell says SIGPIPE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its status where another program does not take over."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    started_in = os.environ.pop("GPT2_STARTED_IN", os.getcwd())
    passed_over = os.environ.pop("GPT2_PASSED_OVER", "")
    program = os.environ.pop("GPT2_PROGRAM", "")
    processes.hear_signals()
    try:
        _check_checkout()
        if words[:1] == [CLIENT]:
            from commands import client

            return client.run(words[1:], Environment(ROOT / ".venv-client"), started_in)
        return _run(words, program, started_in, passed_over)
    except CommandError as error:
        if str(error):
            say(f"error: {error}")
        return error.status
    except Stopped as stopped:
        return stopped.status
    except BrokenPipeError:  # who read has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_IS_GONE


def _check_checkout() -> None:
    """A copy in site-packages has no models, no settings and no folder for an environment."""
    if not (ROOT / "pyproject.toml").is_file():
        raise CommandError(
            "gpt2-torchserve works in a checkout: pip install --editable DIRECTORY_OF_THE_CHECKOUT"
        )


def _run(words: list[str], program: str, started_in: str, passed_over: str) -> int:
    from commands.catalogue import COMMANDS

    if not words or words[0] in ("-h", "--help"):
        print("usage: gpt2-torchserve COMMAND [OPTIONS]   (COMMAND --help lists its options)\n")
        print("\n".join(f"  {name:<8} {each.purpose}" for name, each in COMMANDS.items()))
        return 0 if words else WRONG_USE
    name, *words = words
    command = COMMANDS.get(name)
    if command is None:
        raise CommandError(
            f"there is no command {name}; there are {', '.join(COMMANDS)}", WRONG_USE
        )
    os.chdir(started_in)  # paths are named from there
    options = argparse.Namespace(offline=None)
    if command.options:
        parser = command.parser()
        parser.prog = program or f"gpt2-torchserve {name}"
        options = _parsed(parser, words)
        words = _without_offline(words)
    if passed_over:
        say(f"ignored, since this project has its own Python:{passed_over}")
    if options.offline:
        os.environ.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=options.offline.as_uri())
    return command.run(options, words, Environment(ROOT / command.environment, options.offline))


def _parsed(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    parser.add_argument(
        OFFLINE,
        type=_directory,
        metavar="DIR",
        help="install from the wheels in DIR (see ./scripts/wheels), not from the network",
    )
    parser.error = _wrong_use  # type: ignore[method-assign]
    return parser.parse_args(words)


def _wrong_use(message: str) -> NoReturn:
    for kind, name in NUMBERS.items():  # argparse knows Python's names for them alone
        message = re.sub(rf"invalid {kind} value: (.*)", rf"\1 is not {name}", message)
    raise CommandError(f"{message} (see --help)", WRONG_USE)


def _directory(given: str) -> Path:
    path = Path(given).resolve()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"there is no directory {given}")
    return path


def _without_offline(words: list[str]) -> list[str]:
    """Return a command line without our option, for a program that does not know it."""
    kept, rest = [], iter(words)
    for word in rest:
        if word == OFFLINE:
            next(rest, None)
        elif not word.startswith(f"{OFFLINE}="):
            kept.append(word)
    return kept


if __name__ == "__main__":
    sys.exit(main())
