"""Completions in the format in which a prediction asked for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from handler.content.json_text import to_json_in_chunks
from handler.replies import kserve
from handler.requests.question import COMPLETION, PLAIN, TEXT_OUTPUT, Asked, Question

JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"


def content_type(question: Question) -> str:
    """The type of a whole answer: one text alone is plain, all else is JSON."""
    return TEXT_TYPE if _is_text(question) else JSON_TYPE


def render(question: Question, completions: Sequence[Any], version: str) -> str:
    """A whole answer, from one completion (as JSON) for each thing that is asked.

    `version` is the model's.
    """
    values = [
        _value(asked, completion, version) for asked, completion in zip(question.asked, completions)
    ]
    if _is_text(question):
        return str(values[0])
    value = values if question.is_list else values[0]
    if question.envelope is not None:
        value = kserve.enclosed(question.envelope, value, version)
    return to_json_in_chunks(value)


def _is_text(question: Question) -> bool:
    if question.envelope is not None:
        return False
    first = question.asked[0]
    is_single = not question.is_list and not _holds_several(first) and _n(first) == 1
    return first.format == PLAIN and is_single


def _value(asked: Asked, completion: Any, version: str) -> Any:
    """One completion in its format: one thing a prompt, or a list of `n`; a list for a list."""
    if asked.format == COMPLETION:
        return completion
    if asked.format == TEXT_OUTPUT:
        return _text_output(asked, completion, version)
    prompt, n = asked.request["prompt"], _n(asked)
    is_list = _holds_several(asked)
    prompts = prompt if is_list else [prompt]
    choices = completion["choices"]
    values = []
    for number, each in enumerate(prompts):
        own = choices[number * n : number * n + n]
        if asked.format == PLAIN:
            texts = [choice["text"] for choice in own]
            values.append(texts[0] if n == 1 else texts)
        else:
            before = each if asked.full_text else ""
            values.append([_generated(before, choice) for choice in own])
    return values if is_list else values[0]


def _text_output(asked: Asked, completion: Any, version: str) -> dict[str, Any]:
    prompt, n = asked.request["prompt"], _n(asked)
    prompts = prompt if _holds_several(asked) else [prompt]
    texts, details = [], []
    for number, choice in enumerate(completion["choices"]):
        before = prompts[number // n] if asked.full_text else ""
        texts.append(before + choice["text"])
        details.append(kserve.details(choice["details"]) if "details" in choice else None)
    is_one = len(texts) == 1 and not _holds_several(asked)
    value: dict[str, Any] = {"id": asked.id} if asked.id else {}
    value |= {"model_name": completion["model"], "model_version": version}
    value["text_output"] = texts[0] if is_one else texts
    if asked.details:
        value["details"] = details[0] if is_one else details
    return value


def _generated(before: str, choice: Mapping[str, Any]) -> dict[str, Any]:
    details = {"details": choice["details"]} if "details" in choice else {}
    return {"generated_text": before + choice["text"], **details}


def _holds_several(asked: Asked) -> bool:
    prompt = asked.request["prompt"]
    return isinstance(prompt, list) and not isinstance(prompt[0], int)


def _n(asked: Asked) -> int:
    return int(asked.request.get("n") or 1)


def total_usage(usages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The token counts of several completions together."""
    total: dict[str, Any] = {}
    for usage in usages:
        for name, value in usage.items():
            if isinstance(value, Mapping):
                total[name] = total_usage([total.get(name, {}), value])
            elif isinstance(value, (int, float)):
                total[name] = total.get(name, 0) + value
    return total
