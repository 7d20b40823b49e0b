"""Replies in KServe's formats: V1's predictions, V2's tensors and details."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handler.content.json_text import to_json
from handler.requests.question import Envelope
from handler.requests.tensors import BINARY_SIZE, BYTES, packed

Json = dict[str, Any]


def enclosed(envelope: Envelope, value: Any, version: str) -> Json:
    """An answer in what it stands in.

    Args:
        envelope: Which that is.
        value: Of V1 a value for each instance; of V2 a completion.
        version: The model's.
    """
    return _tensors(envelope, value, version) if envelope.is_tensors else {"predictions": value}


def _tensors(envelope: Envelope, completion: Json, version: str) -> Json:
    """All completions of all prompts, `n` of each beside each other."""
    choices, usage = completion["choices"], completion["usage"]
    found = {
        "text_output": [choice["text"] for choice in choices],
        "finish_reason": [choice["finish_reason"] for choice in choices],
    }
    if any(choice.get("logprobs") for choice in choices):
        found["logprobs"] = [to_json(choice["logprobs"]) for choice in choices]
    names = envelope.outputs or tuple(found)
    outputs = [
        {"name": name, "datatype": BYTES, "shape": [len(found[name])], "data": found[name]}
        for name in names
        if name in found
    ]
    return {
        "model_name": completion["model"],
        "model_version": version,
        "id": envelope.id or completion["id"],
        "parameters": {name: usage[name] for name in ("prompt_tokens", "completion_tokens")},
        "outputs": outputs,
    }


def details(of_tgi: Mapping[str, Any]) -> Json:
    """How a completion came about, from the details that TGI has of it."""
    rest = {name: of_tgi[name] for name in ("generated_tokens", "input_length", "seed")}
    return {"finish_reason": of_tgi["finish_reason"], "logprobs": of_tgi["tokens"], **rest}


def with_binary(envelope: Envelope, value: Json) -> tuple[Json, bytes]:
    """Take the tensors that are wanted as bytes out of an answer's JSON; they come behind it."""
    outputs, tail = [], b""
    for output in value.get("outputs", ()):
        if envelope.binary.get(output["name"], envelope.all_binary):
            raw = packed(output["data"])
            tail += raw
            shown = {name: each for name, each in output.items() if name != "data"}
            output = {**shown, "parameters": {BINARY_SIZE: len(raw)}}
        outputs.append(output)
    return ({**value, "outputs": outputs}, tail) if outputs else (value, b"")
