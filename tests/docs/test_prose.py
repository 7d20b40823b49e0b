"""Lines of prose are short enough to be read, and compared, in a terminal.

Of Markdown, and of comments in JavaScript, CSS and C; ruff (W505) judges Python's.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, pages, prose

LONGEST = 100  # characters
# Samples of a model and what people's tools wrote are left as they are.
OTHERS = ("models/", "tests/archive/made/")
COMMENTED = ("*.js", "*.css", "*.c", "*.h")
COMMENT = re.compile(r"/\*.*?\*/|(?<![:\"'])//[^\n]*", re.DOTALL)
UNBREAKABLE = re.compile(r"`[^`]*`|\[[^\]]*\]\([^)]*\)")


def too_long(page: Path) -> list[int]:
    """Return the numbers of lines that could be shorter, without breaking code or a link in two."""
    return [
        number
        for number, line in prose(page)
        if len(line) > LONGEST and " " in UNBREAKABLE.sub("", line).strip("-* ")
    ]


def long_comments(path: Path) -> list[int]:
    """Return the numbers of lines of source text on which a comment goes on for too long."""
    text = path.read_text(encoding="utf-8")
    lines = text.split("\n")
    commented = {
        number
        for found in COMMENT.finditer(text)
        for number in range(
            text.count("\n", 0, found.start()), text.count("\n", 0, found.end()) + 1
        )
    }
    return [number + 1 for number in sorted(commented) if len(lines[number]) > LONGEST]


def test_comments_have_at_most_100_characters_a_line() -> None:
    listed = subprocess.check_output(["git", "ls-files", "-z", *COMMENTED], cwd=ROOT, text=True)
    paths = [ROOT / name for name in listed.split("\0") if name]
    assert len(paths) > 50
    assert {str(path): found for path in paths if (found := long_comments(path))} == {}


def test_a_long_comment_is_found_wherever_it_stands(tmp_path: Path) -> None:
    path, long = tmp_path / "page.js", "word " * 25
    path.write_text(f"call(); // {long}\n/* {long} */\n/*\n * {long}\n */\n'{long}'\n")
    assert long_comments(path) == [1, 2, 4]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_of_prose_have_at_most_100_characters(page: Path) -> None:
    if not str(page.relative_to(ROOT)).startswith(OTHERS):
        assert too_long(page) == []


def test_a_long_line_of_a_paragraph_or_item_is_found_and_no_other(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    long = "word " * 25
    others = f"| {long} |\n|---|\n\n```\n{long}\n```\n\n`{long.strip()}`\n"
    page.write_text(f"{long}\n\n- {long}\n\n{others}")
    assert too_long(page) == [1, 3]
