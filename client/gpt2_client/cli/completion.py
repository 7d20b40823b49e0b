"""Completion scripts for bash, zsh and fish, generated from the grammar behind `--help`."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence

from gpt2_client.cli import grammar

# What follows these is a file's name.
FILES = ("FILE", "IN", "OUT")

BASH = """\
# bash completion for gpt2
_gpt2() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" command="" i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${{COMP_WORDS[i]}}" in
      {valued}) ((i++)) ;;
      -*) ;;
      *) command="${{COMP_WORDS[i]}}"; break ;;
    esac
  done
  case "$command:$before" in
{followed}
  esac
  case "$command:$word" in
{cases}
  esac
}}
complete -o default -F _gpt2 gpt2
"""

# zsh runs what is written for bash, in its emulation of it.
ZSH = """\
#compdef gpt2
autoload -Uz compinit bashcompinit
(( $+functions[compdef] )) || compinit
bashcompinit
{bash}"""


def script(shell: str, top: argparse.ArgumentParser) -> str:
    """Write the script for one shell."""
    commands = grammar.read(top)
    if shell == "fish":
        return _fish(commands)
    bash = _bash(commands)
    return bash if shell == "bash" else ZSH.format(bash=bash)


def _bash(commands: list[grammar.Command]) -> str:
    before, *others = commands
    valued = [flag for option in before.flags if option.takes_value for flag in option.flags]
    cases = [_compgen(":-*", [flag for option in before.flags for flag in option.flags])]
    cases.append(_compgen(":*", [command.name for command in others]))
    followed = [_nothing(f":{flag}") for flag in valued]
    for command in others:
        flags = [flag for option in command.flags for flag in option.flags]
        cases.append(_compgen(f"{command.name}:-*", flags))
        for option in command.options:
            if option.choices and option.flags:
                followed += [
                    _compgen(f"{command.name}:{flag}", option.choices, ends=True)
                    for flag in option.flags
                ]
            elif option.choices:
                cases.append(_compgen(f"{command.name}:*", option.choices))
            elif option.takes_value and option.metavar not in FILES:
                followed += [_nothing(f"{command.name}:{flag}") for flag in option.flags]
    return BASH.format(
        valued=" | ".join(valued), followed="\n".join(followed), cases="\n".join(cases)
    )


def _compgen(pattern: str, words: Sequence[str], ends: bool = False) -> str:
    offered = f'compgen -W {shlex.quote(" ".join(words))} -- "$word"'
    return f"    {pattern}) COMPREPLY=($({offered})){'; return' if ends else ''} ;;"


def _nothing(pattern: str) -> str:
    """After an option whose value is nobody's to guess."""
    return f"    {pattern}) return ;;"


def _fish(commands: list[grammar.Command]) -> str:
    before, *others = commands
    lines = ["# fish completion for gpt2"]
    # Not __fish_use_subcommand, which takes the value of an option for a command.
    first = f"not __fish_seen_subcommand_from {' '.join(command.name for command in others)}"
    lines += [_fish_option(option, first) for option in before.flags]
    for command in others:
        words = f"-f -n '{first}' -a {command.name} -d {_fish_quote(command.help)}"
        lines.append(f"complete -c gpt2 {words}")
    for command in others:
        condition = f"__fish_seen_subcommand_from {command.name}"
        lines += [_fish_option(option, condition) for option in command.flags]
        for option in command.positionals:
            if option.choices:
                choices = shlex.quote(" ".join(option.choices))
                lines.append(f"complete -c gpt2 -f -n '{condition}' -a {choices}")
    return "\n".join(lines) + "\n"


def _fish_option(option: grammar.Option, condition: str) -> str:
    words = ["complete", "-c", "gpt2", "-n", shlex.quote(condition)]
    for flag in option.flags:
        words += ["-l", flag[2:]] if flag.startswith("--") else ["-s", flag[1:]]
    if option.takes_value:
        words.append("-r" if option.metavar in FILES else "-x")
    if option.choices:
        words += ["-a", shlex.quote(" ".join(option.choices))]
    return " ".join([*words, "-d", _fish_quote(option.help)]) if option.help else " ".join(words)


def _fish_quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
