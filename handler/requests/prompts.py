"""The prompt of a request, under whichever of its names, and what is said more than once."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from handler.errors import BadRequest

PROMPT_NAMES = ("prompt", "data", "body", "text", "input", "inputs")
# KServe's name for a value that travels as base64, in place of a prompt or within one.
BASE64 = "b64"


def prompt_name(options: Mapping[str, Any]) -> str | None:
    """Under which of its names the prompt is given, if it is."""
    names = [name for name in PROMPT_NAMES if options.get(name) is not None]
    if len(names) > 1:
        raise two_prompts(f"`{names[0]}`", f"`{names[1]}`")
    return names[0] if names else None


def take_prompt(options: dict[str, Any]) -> Any:
    """Take the prompt out of an object, under whichever name.

    Raises:
        BadRequest: There is none, it is empty, or no prompt at all.
    """
    _decode_base64(options)
    name = prompt_name(options)
    prompt = options[name] if name else ""
    for other in PROMPT_NAMES:
        options.pop(other, None)
    if prompt == "" or prompt == []:
        raise BadRequest(
            "There is no prompt, or an empty one. Send it as the body, or in one of the fields "
            + ", ".join(f"`{known}`" for known in PROMPT_NAMES),
            param=name or "prompt",
            code="empty_prompt",
        )
    if not isinstance(prompt, (str, list)):
        raise BadRequest(
            f"`{name}` must be a string, a list of strings, a list of token ids or a list of such "
            "lists",
            param=name,
            code="prompt",
        )
    if isinstance(prompt, list) and "" in prompt:
        raise BadRequest(f"`{name}[{prompt.index('')}]` is empty", param=name, code="empty_prompt")
    return prompt


def _decode_base64(options: dict[str, Any]) -> None:
    """Put the text of a field `b64` in place of the prompt.

    Raises:
        BadRequest: It is no base64 of a text in UTF-8, or stands beside another prompt.
    """
    encoded = options.pop(BASE64, None)
    if encoded is None:
        return
    other = prompt_name(options)
    if other:
        raise two_prompts(f"`{other}`", f"`{BASE64}`")
    try:
        options["prompt"] = base64.b64decode(encoded, validate=True).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"The text in `{BASE64}` is not UTF-8 at byte {error.start}",
            param=BASE64,
            code="invalid_text",
        ) from None
    except (TypeError, ValueError):
        raise BadRequest(
            f"`{BASE64}` must be a text in base64", param=BASE64, code="invalid_text"
        ) from None


def two_prompts(one: str, other: str) -> BadRequest:
    """The refusal of a request that names its prompt twice."""
    return BadRequest(
        f"The prompt is given twice, as {one} and as {other}; send only one",
        param="prompt",
        code="two_prompts",
    )


@contextmanager
def naming(field: str) -> Iterator[None]:
    """Have what is wrong with a prompt said of the field that it was made of."""
    try:
        yield
    except BadRequest as error:
        if error.param == "prompt":
            error.param = field.partition("[")[0]
            error.message = error.message.replace("`prompt`", f"`{field}`")
        raise


def merged(one: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both together; what is null gives way.

    Raises:
        BadRequest: They say different things under one name.
    """
    together = dict(one)
    for name, value in other.items():
        before = together.get(name)
        if before is not None and value is not None and before != value:
            shown = str(name)[:100].encode("ascii", "backslashreplace").decode()
            raise BadRequest(
                f"`{shown}` is given twice, with two values", param=shown, code="repeated"
            )
        if before is None:
            together[name] = value
    return together


def without(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object but for one of its fields."""
    return {key: given for key, given in value.items() if key != name}
