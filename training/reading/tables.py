"""CSV and TSV: a row is a record, the first row names the columns."""

import csv
import io
import sys
from collections.abc import Iterator
from typing import Any, Literal

from training.errors import TrainingError
from training.reading.document import Document, Reading, Say
from training.reading.records import choose_fields, read_record

_TITLE_LENGTH = 40
# To tell a table by.
_SAMPLE, _FEW_ROWS = 100_000, 5
Row = tuple[int, list[str]]


def read_table(text: str, source: str, how: Reading, comma: str, say: Say) -> Iterator[Document]:
    """A document for each row.

    Raises:
        TrainingError: the quotes do not fit, a row is too long or short, no column is the text.
    """
    rows = _rows(text, source, comma if comma == "\t" else _comma_of(text), say)
    if not rows:
        return
    names = rows[0][1] if how.header else [str(k) for k in range(1, len(rows[0][1]) + 1)]
    if how.header:
        rows = rows[1:]
        _say_what_is_a_header(names, source, say)
    fields = choose_fields(names, how, source)
    again = [line for line, row in rows if how.header and row == names]
    if again:
        say(
            f"{source}: the names of the columns stand in it {len(again) + 1:,} times, again in "
            f"line {again[0]}, as where tables were put together; these rows are left out"
        )
    for line, row in rows:
        if line in again:
            continue
        if len(row) != len(names):
            raise TrainingError(
                f"{source} line {line} has {len(row)} fields, the first row {len(names)}; "
                "quote what holds a comma or a line break, or read each line as a text with --lines"
            )
        yield from read_record(dict(zip(names, row, strict=True)), fields, how, source, line)


def looks_like_table(text: str) -> str | None:
    """What parts its columns, if all lines have as many; behind a sentence's comma is a blank."""
    sample = text[:_SAMPLE]
    whole = sample if len(text) <= _SAMPLE else sample.rpartition("\n")[0]
    for comma in ",;\t":
        try:
            quoting: Literal[0, 3] = csv.QUOTE_NONE if comma == "\t" else csv.QUOTE_MINIMAL
            rows = [row for _, row in _parse(_reader(whole, comma, quoting))]
        except csv.Error:
            continue
        is_even = len(rows) >= _FEW_ROWS and len({*map(len, rows)}) == 1
        if is_even and rows[0][1:] and not any(f[:1] == " " for row in rows for f in row[1:]):
            return comma
    return None


def _rows(text: str, source: str, comma: str, say: Say) -> list[Row]:
    """All rows that are not empty, each with the line where it begins."""
    try:
        return list(_parse(_reader(text, comma, csv.QUOTE_MINIMAL)))
    except csv.Error as error:
        if comma != "\t":
            raise TrainingError(f"{source} is not valid CSV: {error}") from error
    say(f"{source}: its quotes do not enclose fields, so they are read as part of the text")
    return list(_parse(_reader(text, comma, csv.QUOTE_NONE)))


def _reader(text: str, comma: str, quoting: Literal[0, 3]) -> Any:
    csv.field_size_limit(sys.maxsize)
    lines = io.StringIO(text, newline="")
    return csv.reader(lines, delimiter=comma, quoting=quoting, strict=True)


def _parse(reader: Any) -> Iterator[Row]:
    line = 1
    try:
        for row in reader:
            if any(field.strip() for field in row):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise csv.Error(f"line {line}: {error}") from error


def _comma_of(text: str) -> str:
    """Excel writes semicolons where a comma parts decimals."""
    first = text.split("\n", 1)[0]
    return max(",;\t", key=first.count) if any(c in first for c in ",;\t") else ","


def _say_what_is_a_header(names: list[str], source: str, say: Say) -> None:
    for name in names:
        if len(name) > _TITLE_LENGTH and " " in name.strip():
            say(
                f"{source}: the first row is read as column names, though it looks like "
                "a text (--no-header reads it as one)"
            )
            return
