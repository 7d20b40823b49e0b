"""Finds the text of a record: ``text``, ``prompt`` and ``completion``, or ``messages``."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from training.errors import TrainingError
from training.reading.document import Document, Reading, documents

TEXT, PROMPT, COMPLETION, MESSAGES = "text", "prompt", "completion", "messages"
CONVERSATIONS = "conversations"  # ShareGPT's
_KNOWN = ((TEXT,), (PROMPT, COMPLETION), (MESSAGES,), (CONVERSATIONS,))
_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant"}
_SHOWN_FIELDS = 12
NO_TEMPLATE = (
    "there is no chat template to write them as text; name one with --chat-template, or a model "
    "that has one with --from"
)


def choose_fields(names: Collection[str], how: Reading, where: str) -> tuple[str, ...]:
    """The fields that make a text.

    Raises:
        TrainingError: none is known, or the one that was asked for is not there.
    """
    shown = ", ".join(list(names)[:_SHOWN_FIELDS]) + (", ..." if len(names) > _SHOWN_FIELDS else "")
    if how.column is not None:
        if how.column not in names:
            raise TrainingError(
                f"--column: {where} has no {how.column!r}; it has {shown or 'none'}"
            )
        return (how.column,)
    for fields in _KNOWN:
        if all(field in names for field in fields):
            return fields
    if len(names) == 1:
        return tuple(names)
    raise TrainingError(
        f"{where} has neither text, nor prompt and completion, nor messages; it has "
        f"{shown or 'nothing'}: choose one with --column"
    )


def fields_of(record: Mapping[str, Any], first: Sequence[str], how: Reading) -> tuple[str, ...]:
    """The fields of a record that make a text, where those of the first are known.

    None where it has neither these nor others that are known: a field that happens to be the only
    one of a record is no text for that.
    """
    choices = (tuple(first),) if how.column is not None else (tuple(first), *_KNOWN)
    return next((fields for fields in choices if all(f in record for f in fields)), ())


def read_record(
    record: Mapping[str, Any], fields: Sequence[str], how: Reading, source: str, line: int
) -> Iterator[Document]:
    """The documents of one record: mostly one; an empty one where there is no text.

    Raises:
        TrainingError: a field is not what its name says.
    """
    empty = True
    for document in _texts(record, fields, how, source, line):
        empty = False
        yield document
    if empty:
        yield Document("", source, line)


def _texts(
    record: Mapping[str, Any], fields: Sequence[str], how: Reading, source: str, line: int
) -> Iterator[Document]:
    where = f"{source} line {line}"
    values = [record.get(field) for field in fields]
    if tuple(fields) in ((MESSAGES,), (CONVERSATIONS,)):
        values = [_as_list(values[0])]
    if any(isinstance(value, list) for value in values):
        if len(fields) == 1 and fields[0] not in (MESSAGES, CONVERSATIONS):
            raise TrainingError(f"{where}: {fields[0]} is not text but a list")
        turns = [_openai_turn(turn) for value in values for turn in (value or [])]
        text = _render(turns, how, where).strip()
        if text:
            yield Document(text, source, line)
        return
    for field, value in zip(fields, values, strict=True):
        if value is not None and not isinstance(value, str):
            raise TrainingError(f"{where}: {field} is not text but {type(value).__name__}")
    yield from documents("".join(value or "" for value in values), source, line)


def _as_list(value: Any) -> Any:
    """Messages in a table are JSON in a cell."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _openai_turn(turn: Any) -> Any:
    """ShareGPT says who speaks and what in words of its own."""
    if not isinstance(turn, Mapping) or not {"from", "value"} <= turn.keys():
        return turn
    said = turn["from"]
    return {"role": _ROLES.get(said, said) if isinstance(said, str) else said,
            "content": turn["value"]}  # fmt: skip


def _render(turns: Any, how: Reading, where: str) -> str:
    if not all(
        isinstance(turn, Mapping)
        and isinstance(turn.get("role"), str)
        and isinstance(turn.get("content"), str)
        for turn in turns
    ):
        raise TrainingError(f"{where}: messages are not a list of turns with role and content")
    if how.render is None:
        raise TrainingError(f"{where} has messages; {NO_TEMPLATE}")
    try:
        return how.render(turns)
    except TrainingError as error:
        raise TrainingError(f"{where} has messages; {error}") from error
    except Exception as error:  # a template may raise what it likes
        raise TrainingError(f"{where}: the chat template says: {error}") from error
