"""What the pages show of a terminal is what comes; their programs run.

`WRITE_DOCS=1 ./scripts/test tests/examples` writes the pages anew where it is not.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.examples.blocks import Block, Command, blocks, commands, is_shown, written
from tests.examples.terminal import Terminal
from tests.page.gateway_process import GatewayProcess


def is_run(block: Block) -> bool:
    return block.is_terminal and not block.reason


def is_program(block: Block) -> bool:
    return block.language == "python" and not block.reason


PAGES = [ROOT / "README.md", ROOT / "client" / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
RUN = [page for page in PAGES if any(is_run(block) for block in blocks(page))]
PROGRAMS = [page for page in PAGES if any(is_program(block) for block in blocks(page))]


@pytest.fixture(scope="module")
def port(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a service that serves the embedded model, as ./scripts/serve does."""
    gateway = GatewayProcess(model_store, tmp_path_factory.mktemp("gateway") / "log")
    gateway.start()
    try:
        gateway.wait_ready()
        yield gateway.port
    finally:
        gateway.stop()


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", RUN, ids=name)
def test_a_terminal_shows_what_comes(page: Path, port: int, tmp_path: Path) -> None:
    before = page.read_text(encoding="utf-8")
    after = as_it_is(page, Terminal(tmp_path / "terminal", port))
    if os.environ.get("WRITE_DOCS"):
        page.write_text(after, encoding="utf-8")
        return
    changes = difflib.unified_diff(before.splitlines(), after.splitlines(), "shown", "comes", n=1)
    assert before == after, "\n".join(["WRITE_DOCS=1 writes the page anew:", *changes])


def as_it_is(page: Path, terminal: Terminal) -> str:
    """Return the text of a page with the output that its commands have now."""
    lines = page.read_text(encoding="utf-8").split("\n")
    new = {block: now(block, terminal) for block in blocks(page) if is_run(block)}
    for block in reversed(new):  # from the end, so that numbers of lines stay
        lines[block.first : block.first + len(block.lines)] = new[block]
    return "\n".join(lines)


def now(block: Block, terminal: Terminal) -> list[str]:
    """Run a block; return its lines with the output of now. What a page does not show stays so."""
    lines: list[str] = []
    for command in commands(block):
        output = terminal.run(command)
        kept = not command.shown or is_shown(command.shown, output)
        lines += written(command, command.shown if kept else output)
    return lines


@pytest.mark.parametrize("page", PROGRAMS, ids=name)
def test_the_programs_of_a_page_run_one_after_the_other(
    page: Path, port: int, tmp_path: Path
) -> None:
    programs = ["\n".join(block.lines) for block in blocks(page) if is_program(block)]
    Terminal(tmp_path / "terminal", port).run_python("\n".join(programs))


def test_an_output_that_went_stale_is_written_anew(tmp_path: Path, port: int) -> None:
    page = tmp_path / "page.md"
    fresh = "# A page\n\n```\n$ echo one \\\n    two\none two\n$ true\n```\n\nMore.\n"
    page.write_text(fresh.replace("one two\n", "one 2\n"))
    assert as_it_is(page, Terminal(tmp_path / "terminal", port)) == fresh


@pytest.mark.parametrize("shown", ["$ false", "$ cat none", '$ echo no\n{"error": {}}'])
def test_a_command_that_ends_otherwise_than_shown_is_found(
    tmp_path: Path, port: int, shown: str
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```\n{shown}\n```\n")
    with pytest.raises(AssertionError):
        as_it_is(page, Terminal(tmp_path / "terminal", port))


def test_blocks_commands_and_reasons_are_read(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- not run: takes\nminutes -->\n```\n$ a \\\n  b\nout\n\nput\n\n$ c\n```\n\n"
        "<!-- not run: of no block -->\nwords\n\n```python\nx = 1\n```\n"
    )
    first, second = blocks(page)
    assert (first.reason, first.is_terminal) == ("takes\nminutes", True)
    assert commands(first) == [
        Command(("a \\", "  b"), ("out", "", "put")),
        Command(("c",), ()),
    ]
    assert (second.reason, second.language, second.is_terminal) == ("", "python", False)


def test_of_a_text_without_a_seed_the_form_is_compared() -> None:
    shown = ('{"body": {"query": "a", "generated": " \\"b", "result": "a \\"b"}}',)
    assert is_shown(shown, ('{"body": {"query": "a", "generated": " c", "result": "a c"}}',))
    assert not is_shown(shown, ('{"body": {"query": "b", "generated": " c", "result": "a c"}}',))


def test_a_line_of_dots_stands_for_any_lines() -> None:
    assert is_shown(("a", "...", "z"), ("a", "b", "c", "z"))
    assert not is_shown(("a", "...", "z"), ("a", "b", "c"))
    assert not is_shown(("a.c",), ("abc",))
