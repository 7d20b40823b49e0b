"""The parser's commands and options as plain data, for the manual and the completions."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """One option, or with no `flags` one positional argument."""

    flags: tuple[str, ...]
    metavar: str
    help: str
    choices: tuple[str, ...]
    is_optional: bool

    @property
    def takes_value(self) -> bool:
        """Whether a word follows it."""
        return bool(self.metavar)


@dataclass(frozen=True)
class Command:
    """One command, or with no `name` what stands before all of them."""

    name: str
    help: str
    description: str
    epilog: str
    options: tuple[Option, ...]

    @property
    def flags(self) -> list[Option]:
        """Its options."""
        return [option for option in self.options if option.flags]

    @property
    def positionals(self) -> list[Option]:
        """Its arguments, in their order."""
        return [option for option in self.options if not option.flags]


def read(top: argparse.ArgumentParser) -> list[Command]:
    """Read a parser: first what stands before the commands, then each of them."""
    commands = [_command("", "", top)]
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            commands += [_command(name, helps[name], each) for name, each in action.choices.items()]
    return commands


def _command(name: str, help: str, parser: argparse.ArgumentParser) -> Command:
    options = tuple(_options(parser._actions))
    return Command(name, help, parser.description or "", parser.epilog or "", options)


def _options(actions: Sequence[argparse.Action]) -> Iterator[Option]:
    for action in actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        has_value = action.nargs != 0
        metavar = str(action.metavar or action.dest.upper()) if has_value else ""
        help = (action.help or "") % {"default": action.default, "prog": "gpt2"}
        choices = tuple(map(str, action.choices or ()))
        yield Option(tuple(action.option_strings), metavar, help, choices, action.nargs == "?")
