"""Programs and options that the pages name are there, in blocks and in the middle of a sentence."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from markdown_it import MarkdownIt

from tests.conftest import ROOT
from tests.examples.blocks import blocks
from tests.patience import PATIENCE

PAGES = [
    *(
        ROOT / name
        for name in ("README.md", "CONTRIBUTING.md", "client/README.md", "bench/NOTES.md")
    ),
    *sorted(ROOT.glob("docs/**/*.md")),
]
SCRIPTS = [path.name for path in sorted((ROOT / "scripts").iterdir()) if "." not in path.name]
# As people type them; without a path where no other program has such a name.
CALL = re.compile(
    r"(?:(?:^|(?<=[\s(=|]))(?:\./scripts/(?P<script>[\w-]+)|python -m (?P<module>[\w.]+))"
    r"|(?:^(?:\$ )?(?:[A-Z_\d]+=\S* )*|(?<=[|;&] ))(?P<name>gpt2|package_model|train_model))"
    r"(?P<words>(?![\w.])[^|;&#\n]*)",
    re.MULTILINE,
)
OPTION = re.compile(r"(?<!\S)--[a-z][\w-]*")
# Of pytest, to which they are handed on.
TESTS = "test"
CLIENT = "gpt2"


class Call(NamedTuple):
    """A call of a program of this project, as a page has it."""

    program: str
    is_module: bool
    words: str


def code(page: Path) -> Iterator[str]:
    """Yield what is code on a page: blocks, with broken lines put together, and spans."""
    for block in blocks(page):
        yield "\n".join(block.lines).replace("\\\n", " ")
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        for part in token.children or ():
            if part.type == "code_inline":
                yield part.content


def calls(page: Path) -> Iterator[Call]:
    """Yield the calls on a page."""
    for text in code(page):
        for found in CALL.finditer(text):
            program = found["module"] or found["script"] or found["name"]
            yield Call(program, bool(found["module"]), found["words"])


@cache
def help_of(script: str, *command: str) -> str:
    """Return the help of a script, which comes before anything is installed."""
    done = subprocess.run(
        [ROOT / "scripts" / script, *command, "--help"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def fault(call: Call) -> str:
    """Return what is wrong with a call, or nothing."""
    if call.is_module:
        return "" if importlib.util.find_spec(call.program) else f"no module {call.program}"
    if call.program not in SCRIPTS:
        return f"no script {call.program}"
    said = help_of(call.program)
    for command in re.findall(r"(?<!\S)[a-z][a-z-]+", call.words) if call.program == CLIENT else ():
        if re.search(rf"^ +{command}  ", said, re.MULTILINE):
            said += help_of(CLIENT, command)
    known = {*OPTION.findall(re.sub(r"[\[\](,|=]", " ", said)), "--help"}
    given = OPTION.findall(call.words.replace("=", " "))
    unknown = [option for option in given if option not in known]
    return f"{call.program} has no {unknown[0]}" if unknown and call.program != TESTS else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_program_and_option_on_a_page_is_there(page: Path) -> None:
    assert [(call, fault(call)) for call in calls(page) if fault(call)] == []


def test_calls_are_found_in_sentences_blocks_and_tables(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Run `./scripts/serve --port 1`, or `gpt2 status`; not `gcloud gpt2 --x`.\n\n"
        "| `package_model --check` |\n|---|\n\n"
        "```\n$ A=1 ./scripts/bench \\\n  --quick # --no\n```\n`python -m gateway --settings`\n"
    )
    assert {(call.program, call.words.strip()) for call in calls(page)} == {
        ("serve", "--port 1"),
        ("gpt2", "status"),
        ("package_model", "--check"),
        ("bench", "--quick"),
        ("gateway", "--settings"),
    }


@pytest.mark.parametrize(
    "call",
    [
        Call("serve", False, " --prot 1"),
        Call("no-such-script", False, ""),
        Call("gpt2", False, ' generate "a" --max-toking 3'),
        Call("gateway.no_such", True, ""),
    ],
)
def test_what_is_not_there_is_found(call: Call) -> None:
    assert fault(call)


def test_the_readme_shortens_what_the_page_on_training_shows() -> None:
    [shortened] = [
        block for block in blocks(ROOT / "README.md") if block.lines[0].startswith("text  ")
    ]
    whole = (ROOT / "docs" / "training.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in shortened.lines if line not in whole] == []
