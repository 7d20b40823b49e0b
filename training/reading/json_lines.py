"""JSON Lines: a record in each line. A single list of records is read too."""

import json
import re
from collections.abc import Iterator
from typing import Any

from training.errors import TrainingError
from training.reading.document import Document, Reading, documents, unix_lines
from training.reading.records import choose_fields, fields_of, read_record

_LOOKED_AT = 3


def read_json_lines(text: str, source: str, how: Reading) -> Iterator[Document]:
    """A document for each record.

    Raises:
        TrainingError: a line is no JSON, or holds no text.
    """
    first: tuple[str, ...] = ()
    for line, record in _records(text, source):
        if isinstance(record, str):
            yield from documents(record, source, line)
            continue
        if not isinstance(record, dict):
            raise TrainingError(f"{source} line {line} is not a JSON object")
        first = first or choose_fields(record.keys(), how, f"{source} line {line}")
        yield from read_record(record, fields_of(record, first, how), how, source, line)


def looks_like_json_lines(text: str) -> bool:
    """Whether the first lines are JSON objects each."""
    lines = [line for line in text[:1_000_000].split("\n") if line.strip()]
    whole = lines if len(text) <= 1_000_000 else lines[:-1]
    return bool(whole) and all(_is_object(line) for line in whole[:_LOOKED_AT])


def looks_like_json_list(text: str) -> bool:
    """Whether it is one list of records or of texts."""
    if not re.match(r"\s*\[\s*[{\"]", text):
        return False
    try:
        return all(isinstance(record, dict | str) for record in json.loads(text))
    except (ValueError, RecursionError):
        return False


def _records(text: str, source: str) -> Iterator[tuple[int, Any]]:
    if re.match(r"\s*(\[\s*[{\"]|\{\s*\n)", text):
        # A list of records, or a record over several lines: the whole is one value.
        try:
            records = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise TrainingError(
                f"{source} is not JSON: {error} (a record in each line, or one list of records)"
            ) from error
        yield from enumerate(records if isinstance(records, list) else [records], start=1)
        return
    for number, line in enumerate(unix_lines(text).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise TrainingError(f"{source} line {number} is not JSON: {error}") from error


def _is_object(line: str) -> bool:
    if not line.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
