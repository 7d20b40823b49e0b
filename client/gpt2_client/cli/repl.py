"""Writing together, line by line: a person's words, then the model's. Knows no HTTP."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from gpt2_client.cli.terminal import Terminal, figures
from gpt2_client.client import Client
from gpt2_client.errors import APIError
from gpt2_client.results import Options, TextEvent, UsageEvent

HELP = "An empty line lets it go on; /new starts afresh; /quit or Ctrl-D leaves."


def repl(
    client: Client,
    model: str,
    version: str | None,
    options: Options,
    terminal: Terminal,
    read: Callable[[str], str] = input,
) -> int:
    """Run until the person leaves. Ctrl-C ends the text being written, not the session."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (arrow keys and history while typing)
    terminal.note(HELP)
    text = ""
    while True:
        try:
            line = read("" if terminal.as_json else "> ")
        except EOFError:
            terminal.note("")
            return 0
        if line.strip() == "/quit":
            return 0
        if line.strip() == "/new":
            text = ""
            continue
        if line.strip() == "/help":
            terminal.note(HELP)
            continue
        text = f"{text} {line}" if text and line else text + line
        try:
            text = _go_on(client, model, version, options, text, terminal)
        except APIError as error:
            terminal.note(f"gpt2: {error.message}")


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
        terminal.note(figures(usage, None, time.monotonic() - began))
    return whole
