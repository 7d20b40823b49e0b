"""The description of TorchServe's own route: every way to ask, and what is answered."""

from __future__ import annotations

from gateway.openapi.parts import (
    INFERENCE_ERRORS,
    OPEN_OR_KEYED,
    Json,
    good_reply,
    operation,
    reference,
)
from handler.requests.prompts import PROMPT_NAMES
from handler.requests.typed import LISTS, NUMBERS, SWITCHES, TEXTS

PROMPT = "Once upon a time"
TEXT: Json = {"type": "string"}
SEVERAL: Json = {"type": "array", "items": TEXT}
NAMES = ", ".join(f"`{name}`" for name in PROMPT_NAMES)
EXAMPLES = {
    "prompt": {"prompt": PROMPT, "max_tokens": 20},
    "torchserve": {"data": PROMPT},
    "nested": {"data": {"prompt": PROMPT, "max_new_tokens": 5}},
    "text": PROMPT,
    "list": [PROMPT, {"data": "The fox", "seed": 1}],
    "hugging_face": {"inputs": PROMPT, "parameters": {"max_new_tokens": 5, "do_sample": False}},
}


def schemas() -> Json:
    """Return the schemas of what is asked and answered."""
    prompt = {"anyOf": [TEXT, SEVERAL]}
    asked: list[Json] = [
        {
            "description": f"Options of a CompletionRequest, and its prompt as one of {NAMES}.",
            "type": "object",
            "properties": {name: prompt for name in PROMPT_NAMES if name != "inputs"},
        },
        reference("HuggingFaceRequest"),
        {"type": "string", "minLength": 1},
    ]
    generated = {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["generated_text"],
            "properties": {"generated_text": TEXT},
        },
    }
    answered: list[Json] = [reference("Completion"), generated, TEXT, SEVERAL]
    return {
        "HuggingFaceRequest": {
            "type": "object",
            "required": ["inputs"],
            "properties": {
                "inputs": prompt,
                "parameters": {
                    "type": "object",
                    "properties": {
                        "max_new_tokens": {"type": "integer", "minimum": 0},
                        "max_length": {"type": "integer", "minimum": 1},
                        "do_sample": {"type": "boolean"},
                        "return_full_text": {"type": "boolean", "default": True},
                        "num_return_sequences": {"type": "integer", "minimum": 1},
                    },
                },
                "stream": {"type": "boolean"},
                "options": {"type": "object"},
            },
        },
        "PredictionRequest": {
            "anyOf": [*asked, {"type": "array", "items": {"anyOf": asked}, "minItems": 1}]
        },
        "PredictionReply": {
            "description": (
                "A completion for JSON and forms, a list for a list or for several prompts in a "
                "form; Hugging Face's format for its own requests; plain text if `Accept` asks "
                "for it."
            ),
            "anyOf": [*answered, {"type": "array", "items": {"anyOf": answered}}],
        },
    }


def predict(event: Json) -> Json:
    """Return the operation; `event` is the schema of a stream's."""
    options = _options()
    fields = {"type": "object", "properties": options}
    text = {"schema": {"type": "string", "minLength": 1}}
    done = {"200": good_reply(reference("PredictionReply"))}
    done["200"]["content"]["text/plain"] = {"schema": TEXT}
    done["200"]["content"]["text/event-stream"] = {"schema": event}
    described = operation(
        "predict",
        "TorchServe's own path: plain text, a form or JSON in; plain text, JSON or a stream out",
        "Text",
        done,
        INFERENCE_ERRORS,
    )
    return described | {
        "security": OPEN_OR_KEYED,
        "parameters": [
            {
                "name": "options",
                "in": "query",
                "description": f"Options of a CompletionRequest, and {NAMES}.",
                "style": "form",
                "explode": True,
                "schema": fields,
            }
        ],
        "requestBody": {
            "content": {
                "application/json": {
                    "schema": reference("PredictionRequest"),
                    "examples": {name: {"value": value} for name, value in EXAMPLES.items()},
                },
                "text/plain": text,
                "application/octet-stream": text,
                "multipart/form-data": {"schema": fields},
                "application/x-www-form-urlencoded": {"schema": fields},
            },
        },
    }


def _options() -> Json:
    """The fields of a form or a query."""
    kinds = (
        (PROMPT_NAMES, {"anyOf": [TEXT, SEVERAL]}),
        (sorted(NUMBERS), {"type": "number"}),
        (sorted(SWITCHES), {"type": "boolean"}),
        (sorted(TEXTS), TEXT),
        (sorted(LISTS), SEVERAL),
    )
    return {name: kind for names, kind in kinds for name in names}
