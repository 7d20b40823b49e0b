"""From what ``--text`` names to documents: finds, unpacks, decodes and reads each in its format."""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from training.errors import TrainingError
from training.reading.characters import holdable, odd_characters
from training.reading.document import MARKS, Document, Documents, Reading, Say
from training.reading.encodings import decode
from training.reading.json_lines import looks_like_json_lines, read_json_lines
from training.reading.kinds import kind_of
from training.reading.parquet import MAGIC as PARQUET
from training.reading.parquet import read_parquet
from training.reading.plain import looks_like_lines, read_lines, read_separated, read_whole
from training.reading.sources import find_sources
from training.reading.tables import read_table
from training.reading.unpack import unpack

_BY_SUFFIX = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}

_MARKUP = re.compile(r"\s*<(\?xml|!doctype|!--|[a-z][\w:.-]*(\s[^<>]*)?/?>)", re.I)
_CLOSED_TAG = re.compile(r"</[a-z]", re.I)
# Other models' ends of a text.
_OTHERS_MARKS = re.compile(r"</s>|<eos>|<\|(?:im_end|eot_id|end|eot)\|>|\[(?:SEP|EOS)\]")
# Two bytes of UTF-8 as letters of Windows-1252 or Latin-1, and quotes and dashes of three.
_TWICE = re.compile("[\u00c2\u00c3][\u0080-\u00bf\u0152-\u2122]|\u00e2\u20ac[\u0080-\u2122]")
_FEW_TWICE = 3


def read_documents(named: Sequence[str], how: Reading) -> Documents:
    """All documents of all that is named, in order, and what there is to say about them.

    Raises:
        TrainingError: something cannot be read, or nothing is in it.
    """
    notes: list[str] = []
    found: list[Document] = []
    files: list[str] = []
    for source in find_sources(named, notes.append):
        for name, data in unpack(source.name, source.read(), notes.append):
            files.append(name)
            found += _read(name, data, how, notes.append)
    if not found:
        raise TrainingError(f"no text: {' '.join(named)} holds nothing but white space")
    odd = odd_characters(found)
    if odd:
        notes.append(odd)
    kept = tuple(Document(holdable(d.text), d.source, d.line) for d in found)
    return Documents(kept, tuple(files), tuple(notes))


def _read(name: str, data: bytes, how: Reading, say: Say) -> Iterator[Document]:
    if how.format == "parquet" or data.startswith(PARQUET):
        return read_parquet(data, name, how)
    kind = kind_of(data)
    if kind:
        raise TrainingError(f"{name} is not text but {kind}")
    text = decode(name, data, how.encoding, say)
    format = how.format if how.format != "auto" else _format_of(name, text, how)
    if format == "jsonl":
        return read_json_lines(text, name, how)
    if format in ("csv", "tsv"):
        return read_table(text, name, how, "\t" if format == "tsv" else ",", say)
    if format == "lines":
        return read_lines(text, name)
    if how.separator is not None:
        return read_separated(text, name, how.separator)
    _say_what_it_looks_like(text, name, say)
    return read_whole(text, name)


def _format_of(name: str, text: str, how: Reading) -> str:
    suffix = PurePosixPath(name.lower()).suffix
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if how.separator is None and looks_like_json_lines(text):
        return "jsonl"
    return "text"


def _say_what_it_looks_like(text: str, name: str, say: Say) -> None:
    if _MARKUP.match(text) and (_CLOSED_TAG.search(text) or "<html" in text.lower()):
        say(
            f"{name} looks like HTML or XML: its tags are read as text "
            "(of HTML, pandoc -t plain takes them out)"
        )
    twice = _TWICE.findall(text)
    if len(twice) >= _FEW_TWICE:
        say(
            f"{name} has {len(twice):,} signs such as {twice[0]!r}: it looks like UTF-8 that a "
            "program has taken for Windows-1252 and saved so; it is read as it is"
        )
    others = _OTHERS_MARKS.findall(text)
    if others:
        say(
            f"{name} has {len(others):,} {others[0]}, another model's end of a text, and they are "
            f"read as text (--separator '{others[0]}' parts it there)"
        )
    marks = len(MARKS.findall(text))
    if marks:
        say(f"{name}: its {marks:,} marks such as <|endoftext|> separate documents")
    elif looks_like_lines(text):
        say(
            f"{name} looks as if each line were a text of its own; it is read as one text "
            "(--lines reads each line for itself)"
        )
