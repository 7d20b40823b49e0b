"""The entry point of `gpt2`. Loads what a command needs only once its usage is right."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from gpt2_client.cli import standard
from gpt2_client.cli.arguments import parser
from gpt2_client.cli.exit_codes import DONE, FAILED, INTERRUPTED, LEFT, USAGE


def main(arguments: list[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Run one command and return the exit code."""
    environment = os.environ if environment is None else environment
    standard.prepare()
    try:
        code = _run(arguments, environment)
        standard.write(sys.stdout, "")
        return code
    except standard.OutputError as error:
        # A reader that has left (`gpt2 ... | head`) wants to hear nothing.
        return LEFT if error.is_left else _say(str(error), FAILED)
    except standard.InputError as error:
        return _say(str(error), USAGE)
    except KeyboardInterrupt:
        return _say("", INTERRUPTED)


def check_usage() -> None:
    """End the process where there is nothing to run: on --help, and on wrong usage."""
    parser(os.environ).parse_args()


def _run(arguments: list[str] | None, environment: Mapping[str, str]) -> int:
    top = parser(environment)
    try:
        args = top.parse_args(arguments)
    except SystemExit as ended:  # its words are out, or could not be: that counts like all output
        return ended.code if isinstance(ended.code, int) else USAGE
    if args.command == "manual":
        from gpt2_client.cli.manual import manual

        standard.write(sys.stdout, manual(parser({})))
        return DONE
    if args.command == "completion":
        from gpt2_client.cli.completion import script

        standard.write(sys.stdout, script(args.shell, top))
        return DONE
    from gpt2_client.cli.commands import run

    return run(args, environment)


def _say(message: str, code: int) -> int:
    try:
        print(f"gpt2: {message}" if message else "", file=sys.stderr, flush=True)
    except OSError:
        standard.silence(sys.stderr)
    return code
