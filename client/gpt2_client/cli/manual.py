"""The manual page, in troff, from the grammar of which `--help` is made."""

from __future__ import annotations

import argparse

from gpt2_client import __version__
from gpt2_client.cli import grammar
from gpt2_client.cli.arguments import DESCRIPTION, ENVIRONMENT, EXAMPLES, EXIT_CODES


def manual(top: argparse.ArgumentParser) -> str:
    """Write the page; `top` is the parser without anything of an environment."""
    before, *commands = grammar.read(top)
    lines = [
        f'.TH GPT2 1 "" "gpt2 {__version__}" "User Commands"',
        ".SH NAME",
        rf"gpt2 \- {_text(DESCRIPTION[:1].lower() + DESCRIPTION[1:].rstrip('.'))}",
        ".SH SYNOPSIS",
        r"\fBgpt2\fR [\fIOPTION\fR]... \fICOMMAND\fR [\fIARGUMENT\fR]...",
        ".SH OPTIONS",
        "Those with an address, a time or a number of retries may follow the command too.",
        *_items(before.flags),
        ".SH COMMANDS",
    ]
    for command in commands:
        lines += _command(command, set(before.flags))
    lines += [".SH ENVIRONMENT", *_words(ENVIRONMENT)]
    lines += [".SH EXIT STATUS", *_words(EXIT_CODES)]
    lines += [".SH EXAMPLES", ".nf", *map(_text, EXAMPLES.splitlines()[1:]), ".fi"]
    return "\n".join(lines) + "\n"


def _command(command: grammar.Command, known: set[grammar.Option]) -> list[str]:
    arguments = []
    for option in command.positionals:
        shown = rf"\fI{_text(option.metavar)}\fR"
        arguments.append(f"[{shown}]" if option.is_optional else shown)
    lines = [f".SS gpt2 {' '.join([command.name, '[OPTION]...', *arguments])}"]
    lines.append(_text(f"{command.help[:1].upper()}{command.help[1:]}."))
    lines += [".PP", _text(command.description)] if command.description else []
    lines += _items(command.positionals)
    lines += _items([option for option in command.flags if option not in known])
    lines += [".PP", _text(command.epilog)] if command.epilog else []
    return lines


def _items(options: list[grammar.Option]) -> list[str]:
    lines = []
    for option in options:
        value = f" {option.metavar}" if option.flags and option.takes_value else ""
        names = ", ".join(option.flags) or option.metavar
        choices = f"One of {', '.join(option.choices)}." if option.choices else ""
        lines += [".TP", rf"\fB{_text(names)}\fR{_text(value)}"]
        lines.append(_text(" ".join(filter(None, (option.help, choices)))) or r"\&")
    return lines


def _words(words: dict[str, str]) -> list[str]:
    return [line for name, text in words.items() for line in (".TP", rf"\fB{name}\fR", _text(text))]


def _text(text: str) -> str:
    """Escape what troff would take for its own."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
    return rf"\&{text}" if text.startswith((".", "'")) else text
