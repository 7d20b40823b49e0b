"""Every file of code says in its first lines what it is for; in C the header may say it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

OPENINGS = {
    ".py": ('"""', 'r"""'),
    ".js": ("/*", "//"),
    ".css": ("/*",),
    ".h": ("/*",),
    ".c": ("/*",),
}
SHELL = "#!"


def code() -> list[Path]:
    """Return the files of code that git knows, tests and packages without anything left out."""
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True)
    paths = [ROOT / name for name in listed.split("\0") if name and not name.startswith("tests/")]
    return [path for path in paths if path.is_file() and is_code(path)]


def is_code(path: Path) -> bool:
    if path.suffix in OPENINGS:
        return path.stat().st_size > 0
    with path.open("rb") as file:
        return not path.suffix and file.read(2) == SHELL.encode()


def says_what_it_is_for(path: Path) -> bool:
    lines = path.read_text(encoding="utf-8").splitlines()
    if path.suffix not in OPENINGS:
        return lines[1].startswith("# ")
    if lines[0].startswith(SHELL):
        lines = lines[1:]
    if lines[0].startswith(OPENINGS[path.suffix]):
        return True
    header = path.with_suffix(".h")
    return path.suffix == ".c" and header.is_file() and says_what_it_is_for(header)


def test_every_file_of_code_says_what_it_is_for() -> None:
    found = code()
    assert {path.suffix for path in found} == {*OPENINGS, ""}
    assert [
        path.relative_to(ROOT).as_posix() for path in found if not says_what_it_is_for(path)
    ] == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.py", '"""What it is."""\n', True),
        ("a.py", "import os\n", False),
        ("a.c", "/* What it is. */\n", True),
        ("a.c", '#include "a.h"\n', False),
        ("a", "#!/bin/sh\n# What it is.\n", True),
        ("a", "#!/bin/sh\nset -e\n", False),
    ],
)
def test_what_says_nothing_is_found(tmp_path: Path, name: str, text: str, said: bool) -> None:
    (tmp_path / name).write_text(text)
    assert says_what_it_is_for(tmp_path / name) == said
