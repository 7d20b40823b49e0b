"""`gpt2 generate`: a text, shown while it is written, whole, or as JSON."""

from __future__ import annotations

import argparse
import time
from typing import cast

from gpt2_client.cli import standard
from gpt2_client.cli.exit_codes import DONE
from gpt2_client.cli.names import with_model
from gpt2_client.cli.terminal import DIM, Terminal, figures
from gpt2_client.client import Client
from gpt2_client.results import Choice, Event, FinishEvent, Options, Prompt, TextEvent, UsageEvent

_OPTIONS = tuple(Options.__annotations__)
_NAMES = {TextEvent: "text", FinishEvent: "finish", UsageEvent: "usage"}


def options_of(args: argparse.Namespace) -> Options:
    """Return the options that were given; the server has defaults for the others."""
    given = {name: getattr(args, name, None) for name in _OPTIONS}
    return cast(Options, {name: value for name, value in given.items() if value is not None})


def run(client: Client, args: argparse.Namespace, terminal: Terminal) -> int:
    """Write one text, or several."""
    is_piped = args.prompt == "-"
    prompt = standard.read_text() if is_piped else standard.argument(args.prompt, "the prompt")
    # Several completions at once would be woven into each other on a screen.
    is_whole = args.no_stream or ((args.n or 1) > 1 and not args.json)
    write = _whole if is_whole else _streamed
    with_model(
        client, args.model, terminal, lambda model: write(client, prompt, model, args, terminal)
    )
    return DONE


def _whole(
    client: Client, prompt: Prompt, model: str, args: argparse.Namespace, terminal: Terminal
) -> None:
    began = time.monotonic()
    reply = client.generate(prompt, model=model, version=args.version, **options_of(args))
    if args.json:
        terminal.json(reply)
        return
    for choice in reply.choices:
        if len(reply.choices) > 1:
            terminal.note(f"--- {choice.index + 1}")
        terminal.line(choice.text)
    terminal.note(figures(reply.usage, list(reply.choices), time.monotonic() - began), DIM)


def _streamed(
    client: Client, prompt: Prompt, model: str, args: argparse.Namespace, terminal: Terminal
) -> None:
    began = time.monotonic()
    usage, reasons = None, list[Choice]()
    with client.stream(prompt, model=model, version=args.version, **options_of(args)) as stream:
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
        terminal.note(figures(usage, reasons, time.monotonic() - began), DIM)


def _fields(event: Event) -> dict[str, object]:
    return {name: value for name, value in vars(event).items() if value is not None}
