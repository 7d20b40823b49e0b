"""Writing together, line by line: a person's words, then the model's. Knows no HTTP."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time

from gpt2_client.cli import standard
from gpt2_client.cli.exit_codes import DONE
from gpt2_client.cli.generate import options_of
from gpt2_client.cli.terminal import DIM, RED, Terminal, figures
from gpt2_client.client import Client
from gpt2_client.errors import APIError
from gpt2_client.results import Options, TextEvent, UsageEvent

HELP = "An empty line continues the text; /new starts over; /quit or Ctrl-D leaves."


def run(client: Client, args: argparse.Namespace, terminal: Terminal) -> int:
    """Run until the person leaves. Ctrl-C ends the text being written, not the session."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (arrow keys and history while typing)
    terminal.note(HELP)
    options = options_of(args)
    text, number = "", 0
    while True:
        number += 1
        try:
            line = _read(number, terminal)
        except EOFError:
            terminal.note("")
            return DONE
        if line.strip() == "/quit":
            return DONE
        if line.strip() == "/new":
            text = ""
            continue
        if line.strip() == "/help":
            terminal.note(HELP)
            continue
        text = f"{text} {line}" if text and line else text + line
        try:
            text = _go_on(client, args.model, args.version, options, text, terminal)
        except APIError as error:
            terminal.note(f"gpt2: {error.message}", RED)


def _read(number: int, terminal: Terminal) -> str:
    """Read what a person types, or a line of what is piped in."""
    if sys.stdin is None or not sys.stdin.isatty():
        return standard.read_line(number)
    return standard.argument(input("" if terminal.as_json else "> "), f"line {number}")


def _go_on(
    client: Client,
    model: str,
    version: str | None,
    options: Options,
    text: str,
    terminal: Terminal,
) -> str:
    """Write on from `text` and return all of it, also when Ctrl-C cut it short."""
    began, usage, whole = time.monotonic(), None, text
    request = Options(**options)
    request.setdefault("truncate_prompt", True)
    try:
        with client.stream(text, model=model, version=version, **request) as stream:
            for event in stream:
                if isinstance(event, TextEvent):
                    whole += event.text
                    if not terminal.as_json:
                        terminal.text(event.text)
                elif isinstance(event, UsageEvent):
                    usage = event.usage
    except KeyboardInterrupt:
        terminal.note("")
    if terminal.as_json:
        terminal.json({"text": whole[len(text) :], "usage": usage})
    else:
        terminal.line()
        terminal.note(figures(usage, None, time.monotonic() - began), DIM)
    return whole
