"""All words of the page that a person can read, as they stand in its files."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

from tests.conftest import ROOT

PAGE = ROOT / "gateway" / "page"
SAID = re.compile(r'\bsay\(\s*("(?:[^"\\]|\\.)*"(?:\s*\+\s*"(?:[^"\\]|\\.)*")*)')
READ_ATTRIBUTES = ("aria-label", "title", "placeholder")
# The name of the page and of the model, and what is written on keys.
AS_IT_IS = {"Go on", "Go on · GPT-2", "Status · Go on", "Tab", "Esc", "Ctrl", "Alt", "Z", "H"}
AS_IT_IS |= {"→", "↵", "1", "2", "3", "Ctrl H", "·", "/metrics"}


def words_of_scripts() -> set[str]:
    """What `say` is called with."""
    found = set()
    for path in PAGE.rglob("*.js"):
        for match in SAID.finditer(path.read_text(encoding="utf-8")):
            parts = re.findall(r'"(?:[^"\\]|\\.)*"', match[1])
            found.add("".join(json.loads(part) for part in parts))
    return found


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._silent += tag in ("script", "style", "title", "noscript", "code")
        self.found |= {value.strip() for name, value in attrs if name in READ_ATTRIBUTES and value}

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag in ("script", "style", "title", "noscript", "code")

    def handle_data(self, data: str) -> None:
        if data.strip() and not self._silent:
            self.found.add(data.strip())


def words_of_documents() -> set[str]:
    """What stands in the documents, but for what needs no translation."""
    parser = _Words()
    for name in ("index.html", "status.html"):
        parser.feed((PAGE / name).read_text(encoding="utf-8"))
    return parser.found - AS_IT_IS


def all_words() -> set[str]:
    """Every text that a catalogue has to have."""
    return words_of_scripts() | words_of_documents()
