"""The one reader of predictions: whatever way a request came, what it asks for.

Used by the gateway's routes and by the handler, so that the archive alone reads the same. Knows
neither HTTP nor TorchServe, and no pydantic: whether values are allowed is judged in `schema.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from handler.content import strict_json
from handler.content.charsets import ContentType, decode, parse_content_type
from handler.errors import BadRequest
from handler.requests import kserve
from handler.requests.accept import preferred
from handler.requests.asking import FORM, JSON_BODY, RAW, bound, question_of
from handler.requests.prompts import (
    PROMPT_NAMES,
    merged,
    two_prompts,
)
from handler.requests.question import Field, Question
from handler.requests.typed import OPTIONS, typed

KNOWN = OPTIONS.union(PROMPT_NAMES)


def read_body(
    body: Any, content_type: str, query: Sequence[Field] = (), accept: str = ""
) -> Question:
    """Read a body that is no form: JSON, or the prompt itself.

    Args:
        body: Bytes, or what TorchServe has made of them.
        content_type: The header.
        query: Fields of the query.
        accept: The header.

    Raises:
        BadRequest: There is no prompt, or more than one, or it cannot be read.
    """
    kind, options, wanted = parse_content_type(content_type), _options(query), preferred(accept)
    named = next((name for name in PROMPT_NAMES if options.get(name) is not None), None)
    if body in (b"", "") and named is not None:
        return question_of(options, {}, wanted, RAW)
    if kind.is_json:
        return read_value(_parsed(body, kind), options, wanted)
    if named is not None:
        raise two_prompts("the body", f"`{named}`")
    return question_of({"prompt": _text(body, kind.charset)}, options, wanted, RAW)


def read_value(value: Any, options: dict[str, Any], wanted: str = "") -> Question:
    """Read JSON that was parsed; `options` are of the query.

    Raises:
        BadRequest: As `read_body`.
    """
    if kserve.is_asked(value):
        return kserve.read(value, options, wanted)
    return question_of(value, options, wanted, JSON_BODY)


def read_form(
    fields: Sequence[Field], query: Sequence[Field] = (), accept: str = "", raw: bytes | None = None
) -> Question:
    """Read a form that was taken apart.

    Args:
        fields: Its fields.
        query: Fields of the query.
        accept: The header.
        raw: The body as it came, if it may be words that are only called a form (`curl -d`).

    Raises:
        BadRequest: As `read_body`.
    """
    bound(len(fields), "fields")
    if raw and fields and not any(field.name in KNOWN for field in fields):
        kind = "application/json" if _holds_prompt(raw) else fields[0].content_type
        return read_body(raw, kind, query, accept)
    options = merged(_options(query), _options(fields))
    if not any(name in KNOWN for name in options):
        raise BadRequest(
            "The form has no known field. Send JSON with the header `Content-Type: "
            "application/json`, plain text with `text/plain`, or the text in a field: `data=...`",
            param="prompt",
            code="no_prompt",
        )
    return question_of(options, {}, preferred(accept), FORM)


def _holds_prompt(raw: bytes) -> bool:
    """Whether it is JSON with a prompt in it, whatever it is called."""
    if raw.lstrip()[:1] != b"{":
        return False
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return kserve.is_asked(value) or any(name in value for name in PROMPT_NAMES)


def _parsed(body: Any, kind: ContentType) -> Any:
    """The value of a JSON body, which TorchServe may have parsed already."""
    try:
        if not isinstance(body, (bytes, bytearray)):
            strict_json.check(body)
            return body
        is_other = kind.charset.lower() not in ("", "utf-8", "utf8")
        return strict_json.load(decode(bytes(body), kind.charset) if is_other else body)
    except strict_json.JsonError as error:
        raise BadRequest(error.message, param=error.param, code=error.code) from None


def _text(value: Any, charset: str) -> str:
    """A text of a body or a field; TorchServe decodes some as UTF-8, whatever their charset."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    return decode(bytes(value), charset)


def _options(fields: Sequence[Field]) -> dict[str, Any]:
    """The values of fields by name: of prompts one or a list, of options what JSON would give."""
    by_name: dict[str, list[Field]] = {}
    for field in fields:
        by_name.setdefault(field.name, []).append(field)
    found: dict[str, Any] = {}
    for name, same in by_name.items():
        if name in PROMPT_NAMES:
            values = [_field_value(field) for field in same]
            found[name] = values[0] if len(values) == 1 else values
        elif name in OPTIONS:
            found[name] = typed(name, [_field_text(field) for field in same])
        else:
            found[name] = None  # its name is reported to the client; the value is of no use
    return found


def _field_value(field: Field) -> Any:
    """What a field holds: a text, or what its JSON says."""
    kind = parse_content_type(field.content_type)
    return _parsed(field.value, kind) if kind.is_json else _field_text(field)


def _field_text(field: Field) -> str:
    if not isinstance(field.value, (bytes, bytearray, str)):  # JSON that TorchServe has parsed
        return json.dumps(field.value)
    return _text(field.value, parse_content_type(field.content_type).charset)
