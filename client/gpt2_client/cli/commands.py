"""Runs one command, says what went wrong, and ends with a telling code."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from typing import cast

from gpt2_client.cli.repl import repl
from gpt2_client.cli.terminal import Terminal, figures, status_lines
from gpt2_client.client import Client
from gpt2_client.errors import (
    APIError,
    ClientError,
    StreamBroken,
    TimedOut,
    Unauthorized,
    Unreachable,
)
from gpt2_client.results import Choice, FinishEvent, Options, TextEvent, UsageEvent

DONE, FAILED, USAGE, NO_ANSWER, INTERRUPTED = 0, 1, 2, 3, 130

_OPTIONS = tuple(Options.__annotations__)


def run(args: argparse.Namespace, environment: Mapping[str, str]) -> int:
    """Run the command that was parsed and return the exit code."""
    terminal = Terminal(args.json)
    try:
        with Client(
            args.url,
            api_key=environment.get("GPT2_API_KEY"),
            management_key=environment.get("GPT2_MANAGEMENT_KEY"),
            management_url=args.management_url,
            timeout=args.timeout,
            retries=args.retries,
        ) as client:
            return _run(client, args, terminal)
    except KeyboardInterrupt:
        terminal.note("")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has left (`gpt2 ... | head`): nothing more to say, and nowhere to say it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except ValueError as error:
        terminal.note(f"gpt2: {error}")
        return USAGE
    except ClientError as error:
        return _explain(error, terminal)


def _run(client: Client, args: argparse.Namespace, terminal: Terminal) -> int:
    if args.command == "generate":
        return _generate(client, args, terminal)
    if args.command == "repl":
        return repl(client, args.model, args.version, _options(args), terminal)
    if args.command == "status":
        return _status(client, args, terminal)
    if args.command == "scale":
        sentence = client.scale(args.workers, model=args.model)
    elif args.command == "register":
        sentence = client.register(args.archive, model=args.name, workers=args.workers)
    elif args.command == "unregister":
        sentence = client.unregister(args.model, args.version)
    else:
        sentence = client.set_default(args.model, args.version)
    if args.json:
        terminal.json({"status": sentence})
    else:
        terminal.line(sentence)
    return DONE


def _generate(client: Client, args: argparse.Namespace, terminal: Terminal) -> int:
    prompt = sys.stdin.read() if args.prompt == "-" else args.prompt
    options = _options(args)
    # Several texts at once would be woven into each other on a screen.
    if args.no_stream or (options.get("n", 1) > 1 and not args.json):
        began = time.monotonic()
        reply = client.generate(prompt, model=args.model, version=args.version, **options)
        if args.json:
            terminal.json(reply)
            return DONE
        for choice in reply.choices:
            if len(reply.choices) > 1:
                terminal.note(f"--- {choice.index + 1}")
            terminal.line(choice.text)
        terminal.note(figures(reply.usage, list(reply.choices), time.monotonic() - began))
        return DONE
    return _stream(client, prompt, args, options, terminal)


def _stream(
    client: Client, prompt: str, args: argparse.Namespace, options: Options, terminal: Terminal
) -> int:
    began = time.monotonic()
    usage, reasons = None, list[Choice]()
    with client.stream(prompt, model=args.model, version=args.version, **options) as stream:
        for event in stream:
            if args.json:
                terminal.json({"event": _NAMES[type(event)], **_fields(event)})
            elif isinstance(event, TextEvent):
                terminal.text(event.text)
            elif isinstance(event, FinishEvent):
                reasons.append(Choice(event.index, "", event.reason))
            else:
                usage = event.usage
    if not args.json:
        terminal.line()
        terminal.note(figures(usage, reasons, time.monotonic() - began))
    return DONE


def _status(client: Client, args: argparse.Namespace, terminal: Terminal) -> int:
    health = client.health(model=args.model)
    models = client.models(model=args.model) if health.ready else []
    workers, closed = [], ""
    if health.live:
        try:
            workers = client.describe(args.model, "all")
        except APIError as error:
            # Without the management key the rest is still worth showing.
            closed = "needs the management key" if isinstance(error, Unauthorized) else str(error)
    if args.json:
        terminal.json({"health": health, "models": models, "versions": workers})
    else:
        state = "ready" if health.ready else "up, not ready" if health.live else "down"
        terminal.line(f"service: {state}" + (f" ({health.detail})" if health.detail else ""))
        for model in models:
            size = f"{model.parameters / 1e6:.1f}M parameters" if model.parameters else "?"
            terminal.line(
                f"model {model.id} {model.version}: {model.checkpoint}, {size}, "
                f"context {model.context_length}, {model.engine} {model.precision}"
            )
        for version in workers:
            for line in status_lines(version):
                terminal.line(line)
        if closed:
            terminal.note(f"workers: {closed}")
    return DONE if health.ready else FAILED if health.live else NO_ANSWER


def _options(args: argparse.Namespace) -> Options:
    given = {name: getattr(args, name, None) for name in _OPTIONS}
    return cast(Options, {name: value for name, value in given.items() if value is not None})


_NAMES = {TextEvent: "text", FinishEvent: "finish", UsageEvent: "usage"}


def _fields(event: TextEvent | FinishEvent | UsageEvent) -> dict[str, object]:
    return {name: value for name, value in vars(event).items() if value is not None}


def _explain(error: ClientError, terminal: Terminal) -> int:
    if isinstance(error, APIError):
        place = f" ({error.param})" if error.param and error.param not in error.message else ""
        hint = ""
        if isinstance(error, Unauthorized):
            hint = "; set GPT2_API_KEY or GPT2_MANAGEMENT_KEY"
        terminal.note(f"gpt2: {error.message}{place}{hint}")
        return FAILED
    terminal.note(f"gpt2: {error}")
    return NO_ANSWER if isinstance(error, (Unreachable, TimedOut, StreamBroken)) else FAILED
