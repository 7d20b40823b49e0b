"""The project's Markdown as GitHub renders it: links, anchors of headings, lines of prose."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
NOT_LOCAL = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)
NOT_IN_AN_ANCHOR = re.compile(r"[^\w\- ]")
IDS_IN_HTML = re.compile(r"""<[^>]+\b(?:id|name)=["']([^"']+)""")
LINKS_IN_HTML = re.compile(r"""<[^>]+\b(?:href|src)=["']([^"']+)""")


class Link(NamedTuple):
    """A link as it is written, and the line of the paragraph that holds it."""

    page: Path
    line: int
    target: str


def pages() -> list[Path]:
    """Return every Markdown file that git knows."""
    listed = subprocess.check_output(["git", "ls-files", "-z", "*.md"], cwd=ROOT, text=True)
    return [ROOT / name for name in listed.split("\0") if name]


def links(page: Path) -> Iterator[Link]:
    """Yield the links and images of a page that lead to files of the project."""
    for token in _tokens(page):
        line = (token.map or [0])[0] + 1
        for part in (token, *(token.children or ())):
            for target in _targets(part):
                if not NOT_LOCAL.match(target):
                    yield Link(page, line, target)


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of paragraphs and list items with their numbers; no tables, code or HTML."""
    lines = page.read_text(encoding="utf-8").split("\n")
    for token in _tokens(page):
        if token.type == "paragraph_open" and token.map:
            first, after = token.map
            yield from enumerate(lines[first:after], first + 1)


def _targets(token: Token) -> list[str]:
    if token.type in ("html_block", "html_inline"):
        return LINKS_IN_HTML.findall(token.content)
    given = token.attrGet("href") or token.attrGet("src")
    return [str(given)] if given else []


@cache
def anchors(page: Path) -> frozenset[str]:
    """Return what may stand behind `#` in a link to a page."""
    found: dict[str, int] = {}
    named: set[str] = set()
    tokens = _tokens(page)
    for token, content in zip(tokens, tokens[1:], strict=False):
        if token.type == "heading_open":
            anchor = _anchor(content)
            count = found.get(anchor, 0)
            found[anchor] = count + 1
            named.add(f"{anchor}-{count}" if count else anchor)
        for part in (token, *(token.children or ())):
            if part.type in ("html_block", "html_inline"):
                named.update(IDS_IN_HTML.findall(part.content))
    return frozenset(named)


def _anchor(heading: Token) -> str:
    kinds = ("text", "code_inline")
    text = "".join(part.content for part in heading.children or () if part.type in kinds)
    return NOT_IN_AN_ANCHOR.sub("", text.lower()).replace(" ", "-")


@cache
def _tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
