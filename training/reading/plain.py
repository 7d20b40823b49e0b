"""Plain text: a whole file, one document a line, or documents with a mark between them."""

import re
from collections.abc import Iterator
from statistics import median

from training.errors import TrainingError
from training.reading.document import Document, cut_at, documents, unix_lines

_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_FEW_LINES = 20
_ENDS = tuple(".!?…。！？\"'”’»)")
_MOSTLY = 0.8
_WRAPPED_WIDTH = 100


def read_whole(text: str, source: str) -> Iterator[Document]:
    """A file is one document, or several with ``<|endoftext|>`` between them."""
    return documents(text, source, 1)


def read_lines(text: str, source: str) -> Iterator[Document]:
    """Each line is a document."""
    for number, line in enumerate(unix_lines(text).split("\n"), start=1):
        yield from documents(line, source, number)


def read_separated(text: str, source: str, separator: str) -> Iterator[Document]:
    """Documents with ``separator`` between them.

    Raises:
        TrainingError: it does not occur.
    """
    text = unix_lines(text)
    if separator not in text:
        raise TrainingError(f"--separator: {separator!r} does not occur in {source}")
    return cut_at(re.compile(re.escape(separator)), text, source, 1)


def looks_like_lines(text: str) -> bool:
    """Whether each line seems to be a text: no blank line, and not wrapped at some width.

    Where lines are wrapped, few of them end as a sentence does.
    """
    lines = text.strip().split("\n")
    if len(lines) < _FEW_LINES or _BLANK_LINE.search(text.strip()):
        return False
    lengths = [len(line) for line in lines]
    longest = max(lengths)
    ended = sum(line.rstrip().endswith(_ENDS) for line in lines)
    is_wrapped = longest <= _WRAPPED_WIDTH and median(lengths) >= 0.75 * longest
    return not is_wrapped or ended > _MOSTLY * len(lines)
