"""From a parsed value to what it asks for: a text, an object with a prompt, or a list of these."""

from __future__ import annotations

from typing import Any

from handler.errors import BadRequest
from handler.requests import hugging_face
from handler.requests.accept import EVENTS, TEXT
from handler.requests.prompts import merged, prompt_name, take_prompt, without
from handler.requests.question import COMPLETION, GENERATED, PLAIN, Asked, Question

MAX_PARTS = 1000  # items of a list, fields of a form: reading more would hold everybody up

# What a request came as. A text is answered with a text where it says nothing else; a form is
# answered as JSON is, which is what TorchServe's own clients read.
RAW, FORM, JSON_BODY = "raw", "form", "json"


def bound(count: int, name: str) -> None:
    """Refuse more than are read.

    Raises:
        BadRequest: There are.
    """
    if count > MAX_PARTS:
        raise BadRequest(
            f"The request has {count} {name}; at most {MAX_PARTS} are allowed",
            code="too_many_parts",
        )


def question_of(value: Any, options: dict[str, Any], wanted: str, source: str) -> Question:
    """What a value asks for: a text, an object, or a list of these; `wanted` is of `Accept`."""
    if isinstance(value, str):
        value = {"prompt": value}
    if isinstance(value, list):
        return list_of(value, options, wanted, source)
    if not isinstance(value, dict):
        raise BadRequest(
            "The body must be a JSON object, a string, or a list of these", code="invalid_type"
        )
    name = prompt_name(value)
    items = value[name] if name else None
    # In JSON a list of strings is one completion with as many choices, as OpenAI has it.
    each_alone = dict if source == JSON_BODY else (dict, str)
    if name and isinstance(items, list) and any(isinstance(item, each_alone) for item in items):
        return list_of(items, merged(options, without(value, name)), wanted, source)
    return Question([asked_of(value, options, wanted, source)])


def list_of(items: list[Any], options: dict[str, Any], wanted: str, source: str) -> Question:
    """A list: each item is answered as it would be alone."""
    if not items:
        raise BadRequest("The list of prompts is empty", param="prompt", code="no_prompt")
    bound(len(items), "items")
    asked = []
    for number, item in enumerate(items):
        item = {"prompt": item} if isinstance(item, str) else item
        if not isinstance(item, dict):
            raise BadRequest(
                f"Item {number} of the list must be a string or an object", code="invalid_type"
            )
        asked.append(asked_of(item, options, wanted, source))
    if any(one.request.get("stream") for one in asked):
        return Question([_together(asked)])
    return Question(asked, is_list=True)


def _together(asked: list[Asked]) -> Asked:
    """One request for a list that is to be streamed: a stream's choices differ in `index`.

    Raises:
        BadRequest: They are to be written in different ways.
    """
    prompts = [one.request["prompt"] for one in asked]
    whole = {**asked[0].request, "prompt": prompts}
    alike = all({**one.request, "prompt": prompts} == whole for one in asked)
    if not alike or not all(isinstance(prompt, str) for prompt in prompts):
        raise BadRequest(
            "A list can be streamed only if its items are strings with the same options; send it "
            "without `stream`, or each item by itself",
            param="stream",
            code="mixed_stream",
        )
    return Asked(whole)


def asked_of(value: dict[str, Any], options: dict[str, Any], wanted: str, source: str) -> Asked:
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
