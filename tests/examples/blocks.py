"""The blocks of code on a page, and the commands in those that show a terminal.

A block is a terminal's where lines begin with `$ `: each is a command, and what stands below it is
its output, in which a line `...` stands for any lines. A block that is not run has a comment before
it that says why: `<!-- not run: it takes minutes -->`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

PROMPT = "$ "
ELISION = "..."
# Texts of /generate, which takes no seed: of them only the form is compared.
DRAWN = re.compile(r'(?<="generated": ")(?:[^"\\]|\\.)*(?=")|(?<="result": ")(?:[^"\\]|\\.)*(?=")')
NOT_RUN = re.compile(r"<!--\s*not run:\s*(.+?)\s*-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its lines, the number of the first of them, why it is not run.

    first: Counted from 0, in the lines of the page.
    """

    page: Path
    language: str
    lines: tuple[str, ...]
    first: int
    reason: str

    @property
    def is_terminal(self) -> bool:
        """Whether it shows commands and what they answer."""
        return any(line.startswith(PROMPT) for line in self.lines)


@dataclass(frozen=True)
class Command:
    """A command as it is typed, without its prompt, and the lines that are shown of its output."""

    typed: tuple[str, ...]
    shown: tuple[str, ...]

    @property
    def text(self) -> str:
        """What a shell is given."""
        return "\n".join(self.typed)


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    reason = ""
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        if token.type == "html_block":
            found = NOT_RUN.search(token.content)
            reason = found[1] if found else ""
        elif token.type == "fence" and token.map:
            lines = tuple(token.content.splitlines())
            yield Block(page, token.info.strip(), lines, token.map[0] + 1, reason)
            reason = ""
        elif token.type not in ("list_item_open", "bullet_list_open"):
            reason = ""


def commands(block: Block) -> list[Command]:
    """Return the commands of a terminal's block; what stands before the first is not looked at."""
    found: list[tuple[list[str], list[str]]] = []
    is_going_on = False
    for line in block.lines:
        if line.startswith(PROMPT):
            found.append(([line.removeprefix(PROMPT)], []))
        elif found:
            found[-1][0 if is_going_on else 1].append(line)
        is_going_on = line.endswith("\\") and (is_going_on or line.startswith(PROMPT))
    return [Command(tuple(typed), _without_blank_end(shown)) for typed, shown in found]


def _without_blank_end(lines: list[str]) -> tuple[str, ...]:
    while lines and not lines[-1]:
        lines = lines[:-1]
    return tuple(lines)


def written(command: Command, output: tuple[str, ...]) -> list[str]:
    """Return the lines of a block that show a command with this output."""
    first, *rest = command.typed
    return [PROMPT + first, *rest, *output]


def is_shown(shown: tuple[str, ...], output: tuple[str, ...]) -> bool:
    """Whether an output is the one that is shown, but for what is left out or drawn anew."""
    parts = [".*" if line == ELISION else re.escape(DRAWN.sub("", line)) for line in shown]
    return re.fullmatch("\n".join(parts), DRAWN.sub("", "\n".join(output)), re.DOTALL) is not None
