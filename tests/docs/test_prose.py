"""Lines of prose are short enough to be read, and compared, in a terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, pages, prose

LONGEST = 100  # characters
# Samples of a model and what people's tools wrote are left as they are.
OTHERS = ("models/", "tests/archive/made/")
UNBREAKABLE = re.compile(r"`[^`]*`|\[[^\]]*\]\([^)]*\)")


def too_long(page: Path) -> list[int]:
    """Return the numbers of lines that could be shorter, without breaking code or a link in two."""
    return [
        number
        for number, line in prose(page)
        if len(line) > LONGEST and " " in UNBREAKABLE.sub("", line).strip("-* ")
    ]


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
