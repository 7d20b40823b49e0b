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
from handler.requests import hugging_face
from handler.requests.accept import EVENTS, TEXT, preferred
from handler.requests.prompts import (
    PROMPT_NAMES,
    merged,
    prompt_name,
    take_prompt,
    two_prompts,
    without,
)
from handler.requests.question import COMPLETION, GENERATED, PLAIN, Asked, Field, Question
from handler.requests.typed import OPTIONS, typed

KNOWN = OPTIONS.union(PROMPT_NAMES)
MAX_PARTS = 1000  # items of a list, fields of a form: reading more would hold everybody up

# What a request came as. A text is answered with a text where it says nothing else; a form is
# answered as JSON is, which is what TorchServe's own clients read.
RAW, FORM, JSON_BODY = "raw", "form", "json"


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
        BadRequest: There is no prompt, or more than one, or it can not be read.
    """
    kind, options, wanted = parse_content_type(content_type), _options(query), preferred(accept)
    named = next((name for name in PROMPT_NAMES if options.get(name) is not None), None)
    if body in (b"", "") and named is not None:
        return _question(options, {}, wanted, RAW)
    if kind.is_json:
        return _question(_parsed(body, kind), options, wanted, JSON_BODY)
    if named is not None:
        raise two_prompts("the body", f"`{named}`")
    return _question({"prompt": _text(body, kind.charset)}, options, wanted, RAW)


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
    _bound(len(fields), "fields")
    if raw and fields and not any(field.name in KNOWN for field in fields):
        kind = "application/json" if _holds_prompt(raw) else fields[0].content_type
        return read_body(raw, kind, query, accept)
    options = merged(_options(query), _options(fields))
    if not any(name in KNOWN for name in options):
        raise BadRequest(
            "The form has no field that is known here. Send JSON with the header `Content-Type: "
            "application/json`, a text as it is with `text/plain`, or in a field: `data=...`",
            param="prompt",
            code="no_prompt",
        )
    return _question(options, {}, preferred(accept), FORM)


def _bound(count: int, name: str) -> None:
    if count > MAX_PARTS:
        raise BadRequest(
            f"The request holds {count} {name}; at most {MAX_PARTS} are read", code="too_many_parts"
        )


def _holds_prompt(raw: bytes) -> bool:
    """Whether it is JSON with a prompt in it, whatever it is called."""
    if raw.lstrip()[:1] != b"{":
        return False
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return any(name in value for name in PROMPT_NAMES)


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
            found[name] = None  # told to the client by its name; the value is of no use
    return found


def _field_value(field: Field) -> Any:
    """What a field holds: a text, or what its JSON says."""
    kind = parse_content_type(field.content_type)
    return _parsed(field.value, kind) if kind.is_json else _field_text(field)


def _field_text(field: Field) -> str:
    if not isinstance(field.value, (bytes, bytearray, str)):  # JSON that TorchServe has parsed
        return json.dumps(field.value)
    return _text(field.value, parse_content_type(field.content_type).charset)


def _question(value: Any, options: dict[str, Any], wanted: str, source: str) -> Question:
    """What a value asks for: a text, an object, or a list of these; `wanted` is of `Accept`."""
    if isinstance(value, str):
        value = {"prompt": value}
    if isinstance(value, list):
        return _list(value, options, wanted, source)
    if not isinstance(value, dict):
        raise BadRequest(
            "The body must be a JSON object, a text, or a list of these", code="invalid_type"
        )
    name = prompt_name(value)
    items = value[name] if name else None
    # In JSON a list of texts is one completion with as many choices, as OpenAI has it.
    each_alone = dict if source == JSON_BODY else (dict, str)
    if name and isinstance(items, list) and any(isinstance(item, each_alone) for item in items):
        return _list(items, merged(options, without(value, name)), wanted, source)
    return Question([_asked(value, options, wanted, source)])


def _list(items: list[Any], options: dict[str, Any], wanted: str, source: str) -> Question:
    """A list: each item is answered as it would be alone."""
    if not items:
        raise BadRequest("The list of prompts is empty", param="prompt", code="no_prompt")
    _bound(len(items), "items")
    asked = []
    for number, item in enumerate(items):
        item = {"prompt": item} if isinstance(item, str) else item
        if not isinstance(item, dict):
            raise BadRequest(
                f"Item {number} of the list must be a text or an object", code="invalid_type"
            )
        asked.append(_asked(item, options, wanted, source))
    if any(one.request.get("stream") for one in asked):
        return Question([_together(asked)])
    return Question(asked, is_list=True)


def _together(asked: list[Asked]) -> Asked:
    """One request for a list that is to be streamed: a stream tells its texts apart by `index`.

    Raises:
        BadRequest: They are to be written in different ways.
    """
    prompts = [one.request["prompt"] for one in asked]
    whole = {**asked[0].request, "prompt": prompts}
    alike = all({**one.request, "prompt": prompts} == whole for one in asked)
    if not alike or not all(isinstance(prompt, str) for prompt in prompts):
        raise BadRequest(
            "A list can be streamed only if its items are texts with the same options; send it "
            "without `stream`, or each item by itself",
            param="stream",
            code="mixed_stream",
        )
    return Asked(whole)


def _asked(value: dict[str, Any], options: dict[str, Any], wanted: str, source: str) -> Asked:
    """Read one object, with the options that stand beside it."""
    is_hugging_face = source == JSON_BODY and hugging_face.is_asked(value)
    given = merged(options, _flat(value))
    prompt = take_prompt(given)
    full_text = hugging_face.switch(given, "return_full_text")
    request = {"prompt": prompt, **hugging_face.translated(given)}
    if request.get("stream") is None and wanted == EVENTS:
        request["stream"] = True
    if is_hugging_face:
        details = hugging_face.take_details(request)
        return Asked(request, GENERATED, full_text=full_text is not False, details=details)
    if full_text is not None:
        request.setdefault("echo", full_text)
    is_plain = wanted == TEXT
    if source == RAW and not wanted:
        is_plain = request.get("logprobs") is None  # a text alone has no place for them
    return Asked(request, PLAIN if is_plain and not request.get("stream") else COMPLETION)


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    """An object with what is within its prompt, and then its `parameters`, beside all else."""
    name = prompt_name(value)
    if name is not None and isinstance(value[name], dict):
        value = merged(without(value, name), value[name])
    parameters = value.get("parameters")
    if parameters is None:
        return value
    if not isinstance(parameters, dict):
        raise BadRequest("`parameters` must be an object", param="parameters", code="dict_type")
    return merged(without(value, "parameters"), parameters)
