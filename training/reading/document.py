"""The documents that readers return, and the options for reading."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# gpt-2-simple writes both around a document, OpenAI's own data sets the second between two.
MARKS = re.compile(r"<\|startoftext\|>|<\|endoftext\|>")

FORMATS = ("auto", "text", "lines", "jsonl", "csv", "tsv", "parquet")

Messages = Sequence[Mapping[str, Any]]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Document:
    """One text, which is never joined to the next; ``line`` (from 1) is where it begins."""

    text: str
    source: str
    line: int


@dataclass(frozen=True)
class Reading:
    """What the person said; the rest is found out from name and content of each file."""

    format: str = "auto"
    separator: str | None = None
    column: str | None = None
    header: bool = True
    encoding: str | None = None
    render: Callable[[Messages], str] | None = None  # chat template: turns to text


@dataclass(frozen=True)
class Documents:
    """All documents in order, the files they came from, and what is to be said about them."""

    documents: tuple[Document, ...]
    files: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def characters(self) -> int:
        """Of all documents together."""
        return sum(len(document.text) for document in self.documents)


def documents(text: str, source: str, line: int) -> Iterator[Document]:
    r"""The documents of ``text``: one, or several with marks of documents between them.

    Line ends become ``\n``, white space around a document goes, an empty one is left out.
    """
    return cut_at(MARKS, text, source, line)


def cut_at(mark: re.Pattern[str], text: str, source: str, line: int) -> Iterator[Document]:
    """What stands between the marks of ``text``, which begins at ``line`` of its source."""
    text = unix_lines(text)
    start = 0
    for end, following in [*(m.span() for m in mark.finditer(text)), (len(text), len(text))]:
        part = text[start:end]
        whole = part.strip()
        if whole:
            before = part[: part.index(whole[0])]
            yield Document(whole, source, line + before.count("\n"))
        line += text.count("\n", start, following)
        start = following


def unix_lines(text: str) -> str:
    r"""Line ends as ``\n``."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
