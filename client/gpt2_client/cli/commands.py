"""Runs one command, reports errors, and returns a meaningful exit code."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from gpt2_client.batch.files import FileProblem
from gpt2_client.cli import batch, embed, generate, manage, repl, score, standard
from gpt2_client.cli.exit_codes import FAILED, NO_ANSWER, USAGE
from gpt2_client.cli.names import UnknownName
from gpt2_client.cli.settings import gather
from gpt2_client.cli.terminal import RED, Terminal
from gpt2_client.client import Client
from gpt2_client.errors import (
    APIError,
    ClientError,
    StreamBroken,
    TimedOut,
    Unauthorized,
    Unreachable,
)

COMMANDS: dict[str, Callable[[Client, argparse.Namespace, Terminal], int]] = {
    "generate": generate.run,
    "repl": repl.run,
    "embed": embed.run,
    "score": score.run,
    "status": manage.status,
    "scale": manage.scale,
    "register": manage.register,
    "unregister": manage.unregister,
    "set-default": manage.set_default,
}


def run(args: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Run the command that was parsed and return the exit code."""
    standard.prepare(args.json)
    terminal = Terminal(args.json, environment=environment)
    settings = gather(environment)

    def connect(timeout: float | None = args.timeout, retries: int | None = args.retries) -> Client:
        return Client(
            args.url,
            api_key=settings.get("GPT2_API_KEY"),
            management_key=settings.get("GPT2_MANAGEMENT_KEY"),
            management_url=args.management_url,
            timeout=timeout,
            retries=retries,
        )

    try:
        with connect() as client:
            if args.command == "batch":  # which needs a client for each that is out at once
                return batch.run(client, args, terminal, connect)
            return COMMANDS[args.command](client, args, terminal)
    except FileProblem as error:
        terminal.note(f"gpt2: {error}", RED)
        return FAILED
    except (ValueError, UnknownName) as error:
        terminal.note(f"gpt2: {error}", RED)
        return USAGE
    except ClientError as error:
        return _explain(error, terminal)


def _explain(error: ClientError, terminal: Terminal) -> int:
    if isinstance(error, APIError):
        param = f" ({error.param})" if error.param and error.param not in error.message else ""
        hint = ""
        if isinstance(error, Unauthorized):
            hint = "; set GPT2_API_KEY or GPT2_MANAGEMENT_KEY"
        terminal.note(f"gpt2: {error.message}{param}{hint}", RED)
        return FAILED
    terminal.note(f"gpt2: {error}", RED)
    return NO_ANSWER if isinstance(error, (Unreachable, TimedOut, StreamBroken)) else FAILED
