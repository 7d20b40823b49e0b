"""From what ``--text`` names to documents: finds, unpacks, decodes and reads each in its format."""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from training.errors import TrainingError
from training.reading.characters import holdable, odd_characters
from training.reading.document import MARKS, Document, Documents, Reading, Say
from training.reading.encodings import decode
from training.reading.json_lines import (
    looks_like_json_lines,
    looks_like_json_list,
    read_json_lines,
)
from training.reading.kinds import kind_of
from training.reading.looks import Looks
from training.reading.parquet import MAGIC as PARQUET
from training.reading.parquet import read_parquet
from training.reading.plain import looks_like_lines, read_lines, read_separated, read_whole
from training.reading.sources import find_sources
from training.reading.tables import looks_like_table, read_table
from training.reading.unpack import unpack

_BY_SUFFIX = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
_MARK_OF_ORDER = "\ufeff"
_BEGINS_AS_JSON = re.compile(r"\s*[\[{]\s*[\"{\[]")


def read_documents(named: Sequence[str], how: Reading) -> Documents:
    """All documents of all that is named, in order, and what there is to say about them.

    Raises:
        TrainingError: something cannot be read, or nothing is in it.
    """
    notes: list[str] = []
    read: list[Document] = []
    files: list[str] = []
    looks = Looks()
    for source in find_sources(named, notes.append):
        for name, data in unpack(source.name, source.read(), notes.append):
            files.append(name)
            texts = list(_read(name, data, how, notes.append, looks))
            looks.look_at(name, "\n\n".join(text.text for text in texts if text.text))
            read += texts
    found = [document for document in read if document.text]
    if not found:
        raise TrainingError(f"no text: {' '.join(named)} holds nothing but white space")
    notes += looks.notes()
    if len(found) < len(read):
        empty = next(document for document in read if not document.text)
        notes.append(
            f"{len(read) - len(found):,} records have no text (it is empty, null "
            f"or not there) and are left out, the first in {empty.source} line {empty.line}"
        )
    odd = odd_characters(found)
    if odd:
        notes.append(odd)
    kept = tuple(Document(holdable(d.text), d.source, d.line) for d in found)
    return Documents(kept, tuple(files), tuple(notes))


def _read(name: str, data: bytes, how: Reading, say: Say, looks: Looks) -> Iterator[Document]:
    if how.format == "parquet" or data.startswith(PARQUET):
        return read_parquet(data, name, how)
    kind = kind_of(data)
    if kind:
        raise TrainingError(f"{name} is not text but {kind}")
    text = _without_marks_of_order(decode(name, data, how.encoding, say), name, looks)
    format = how.format if how.format != "auto" else _format_of(name, text, how)
    if format == "jsonl":
        return read_json_lines(text, name, how)
    if format in ("csv", "tsv"):
        return read_table(text, name, how, "\t" if format == "tsv" else ",", say)
    if format == "lines":
        return read_lines(text, name)
    if how.separator is not None:
        return read_separated(text, name, how.separator)
    _note_other_formats(text, name, looks)
    return read_whole(text, name)


def _format_of(name: str, text: str, how: Reading) -> str:
    suffix = PurePosixPath(name.lower()).suffix
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if how.separator is None and (looks_like_json_lines(text) or looks_like_json_list(text)):
        return "jsonl"
    return "text"


def _without_marks_of_order(text: str, name: str, looks: Looks) -> str:
    count = text.count(_MARK_OF_ORDER)
    if count:
        looks.add(name, "byte order marks within it ({count:,}), as `cat` leaves them, go", count)
    return text.replace(_MARK_OF_ORDER, "")


def _note_other_formats(text: str, name: str, looks: Looks) -> None:
    marks = len(MARKS.findall(text))
    comma = looks_like_table(text)
    if marks:
        looks.add(name, "its {count:,} marks such as <|endoftext|> separate documents", marks)
    elif _BEGINS_AS_JSON.match(text):
        looks.add(name, "it begins as JSON does, and is read as text (--format jsonl: as records)")
    elif comma:
        format = "tsv" if comma == "\t" else "csv"
        looks.add(name, f"it looks like a table, and is read as text (--format {format}: as texts)")
    elif looks_like_lines(text):
        looks.add(
            name,
            "it looks as if each line were a text of its own, and is read as one text (--lines "
            "reads each line for itself)",
        )
