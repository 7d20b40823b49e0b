"""A body against the contract: parsed, checked, and refused in our words."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from handler.content import strict_json
from handler.errors import BadRequest
from handler.requests import ignored
from handler.requests.base import AnyRequest, _Request, unknown_fields
from handler.workshop import pace

MOST_NAMED = 100  # characters of a field's name in an error


def parse_json(body: Any) -> Any:
    """Return the value of a request body that is JSON, or was parsed by TorchServe already.

    Raises:
        BadRequest: It is not JSON, nested too deeply, or holds half a character.
    """
    try:
        if isinstance(body, (bytes, str)):
            return strict_json.load(body)
        strict_json.check(body)
    except strict_json.JsonError as error:
        raise BadRequest(error.message, param=error.param, code=error.code) from None
    return body


def validate(model: type[AnyRequest], value: Any) -> AnyRequest:
    """Check `value` against `model`.

    Raises:
        BadRequest: Names the first field that is wrong and what is allowed.
    """
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object", code="invalid_type")
    pace()
    try:
        return model.model_validate(value)
    except ValidationError as failure:
        raise _to_bad_request(failure, model) from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply", code="invalid_json") from None


def read(model: type[AnyRequest], value: Any, *, is_strict: bool) -> tuple[AnyRequest, str]:
    """Check a body; the names of fields that are ignored, as the header has them, beside it.

    Raises:
        BadRequest: A value is not allowed, or a field where none may be ignored.
    """
    request = validate(model, value)
    unknown = list(unknown_fields(request, value))
    if unknown and is_strict:
        raise unknown_field(unknown[0])
    return request, ignored.header_value(unknown)


def unknown_field(name: str) -> BadRequest:
    """The refusal of a field that is not known, where it is not to be ignored."""
    shown = name[:MOST_NAMED]
    return BadRequest(f"Unknown field `{shown}`", param=shown, code="unknown_field")


# Pydantic's words, which stand behind the field's name.
OUR_WORDS = (
    (re.compile(r"^Input should be"), "must be"),
    (re.compile(r"^\w+ should have"), "must have"),
    (re.compile(r" after validation, not \d+$"), ""),
    (re.compile(r"^Field required$"), "is required"),
    (re.compile(r"^Value error, "), ""),
)


def _in_our_words(message: str) -> str:
    for theirs, ours in OUR_WORDS:
        message = theirs.sub(ours, message)
    return message


def _to_bad_request(failure: ValidationError, model: type[_Request]) -> BadRequest:
    fault = failure.errors(include_url=False, include_input=False)[0]
    location = [part for part in fault["loc"] if isinstance(part, int) or part.isidentifier()]
    param = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location).lstrip(".")
    param = param[:MOST_NAMED]  # a key of `logit_bias` is the client's, and as long as he likes
    if fault["type"] == "model_type":
        return BadRequest(f"`{param}` must be an object", param=param, code="model_type")
    message = _in_our_words(fault["msg"])
    if not param:
        about = fault["type"] if fault["type"] in model.model_fields else None
        about = about or fault.get("ctx", {}).get("name")
        code = None if about == fault["type"] else fault["type"]
        return BadRequest(message[:1].upper() + message[1:], param=about, code=code)
    return BadRequest(f"`{param}` {message}", param=param.split("[")[0], code=fault["type"])
