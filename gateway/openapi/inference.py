"""Describes `/v1/...`, `/generate` and their paths under `/predictions`, from one table."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.openapi import management, predictions, protocols
from gateway.openapi.management import MODEL, VERSION, with_parameters
from gateway.openapi.parts import (
    INFERENCE_ERRORS,
    OPEN_OR_KEYED,
    Json,
    good_reply,
    operation,
    reference,
    together,
)
from gateway.openapi.predictions import PROMPT
from gateway.settings import Settings

MESSAGE = {"role": "user", "content": "Who are you?"}
EVENT: Json = {
    "description": "One event of a stream.",
    "type": "object",
    "properties": {
        "data": {
            "description": "A Completion as JSON, or [DONE]. One with empty text and no "
            "`finish_reason` is no token: it says that a silent stream goes on.",
            "type": "string",
        }
    },
}
IGNORED_FIELDS: Json = {
    "x-ignored-fields": {
        "description": (
            "Unknown fields of the request, percent-encoded and separated by commas; at most 8 "
            "names and 256 bytes. With `STRICT_FIELDS` they are refused instead."
        ),
        "schema": {"type": "string"},
    }
}
ORIGIN: Json = {
    "x-model-digest": {
        "description": (
            "SHA-256 of the model that generated this: with the same request and seed, every "
            "instance that has it generates the same. Absent with the engine `torch`."
        ),
        "schema": {"type": "string"},
    },
    "x-seed": {
        "description": "The seed of a completion, chosen at random if the request has none.",
        "schema": {"type": "string"},
    },
}


@dataclass(frozen=True)
class Route:
    """A route of inference: `path` behind `/v1/`, schemas of request and reply, example bodies."""

    path: str
    summary: str
    takes: str
    gives: str
    examples: Json
    streams: bool = False

    def described(self) -> Json:
        """The operation, which is the same on all paths to it."""
        name = self.path.replace("/", "_")
        made = _post(name, self.summary, self.takes, self.gives, self.examples)
        if self.streams:
            made["responses"]["200"]["content"]["text/event-stream"] = {"schema": EVENT}
        return made


ROUTES = (
    Route(
        "completions",
        "Complete a prompt",
        "CompletionRequest",
        "Completion",
        {
            "whole": {"prompt": PROMPT, "max_tokens": 20, "temperature": 0.8},
            "stream": {"prompt": PROMPT, "stream": True, "stream_options": {"include_usage": True}},
            "several": {"prompt": PROMPT, "n": 3, "seed": 42, "stop": ["."]},
            "scores": {"prompt": PROMPT, "max_tokens": 0, "echo": True, "logprobs": 2},
        },
        streams=True,
    ),
    Route(
        "chat/completions",
        "Answer a conversation, if the model has a chat template",
        "ChatRequest",
        "Chat",
        {
            "whole": {"messages": [MESSAGE], "max_completion_tokens": 20},
            "stream": {"messages": [MESSAGE], "max_completion_tokens": 20, "stream": True},
        },
        streams=True,
    ),
    Route(
        "embeddings",
        "Embed texts",
        "EmbeddingRequest",
        "Embeddings",
        {
            "text": {"input": PROMPT},
            "several": {"input": [PROMPT, "The old house"], "pooling": "last", "dimensions": 64},
        },
    ),
    Route(
        "tokenize",
        "Text to token ids",
        "TokenizeRequest",
        "TokenizeReply",
        {"text": {"text": PROMPT}},
    ),
    Route(
        "detokenize",
        "Token ids to text",
        "DetokenizeRequest",
        "DetokenizeReply",
        {"tokens": {"tokens": [40, 41, 42]}},
    ),
)


def paths(settings: Settings) -> Json:
    """Return the paths of everything that asks the model."""
    summary = f"Continue a text by {settings.n_tokens} tokens"
    examples = {"text": {"input": PROMPT}}
    generate = _post("generate", summary, "GenerateRequest", "GenerateReply", examples)
    protocols.take_as_tgi(generate)
    described = {route.path: route.described() for route in ROUTES}
    predict = _predictions("", predictions.predict(EVENT))
    return together(
        {f"/v1/{path}": {"post": one} for path, one in described.items()},
        {settings.route_generate: {"post": generate}},
        {"/v1/models": {"get": _read("list_models", "The models", "ModelList")}},
        {"/v1/models/{model}": _one_model()},
        {f"/{path}": {"post": _without_v1(one)} for path, one in described.items()},
        predict,
        management.predictions_by_options(),
        *(_predictions(f"/v1/{path}", one) for path, one in described.items()),
    )


def _one_model() -> Json:
    read = protocols.may_be_away(_read("read_model", "One model", "ModelCard", "ListedModel"))
    return with_parameters([MODEL], {"get": read})


def _without_v1(described: Json) -> Json:
    """Return an operation on its path without `/v1`, as vLLM has some of them."""
    return described | {"operationId": f"{described['operationId']}_without_v1"}


def _predictions(path: str, described: Json) -> Json:
    """Return TorchServe's paths to an operation: with and without the version, POST and PUT."""
    base, name = "/predictions/{model}", f"predict{path}".replace("/", "_")
    found: Json = {}
    for version, parameters in (("", [MODEL]), ("/{version}", [MODEL, VERSION])):
        suffix = "_of_version" if version else ""
        methods = {
            "post": described | {"operationId": name + suffix},
            "put": described | {"operationId": f"{name}{suffix}_by_put"},
        }
        found[base + version + path] = with_parameters(parameters, methods)
    return found


def _post(name: str, summary: str, takes: str, gives: str, examples: Json) -> Json:
    done = {"200": good_reply(reference(gives)) | {"headers": {**IGNORED_FIELDS, **ORIGIN}}}
    return operation(name, summary, "Text", done, INFERENCE_ERRORS) | {
        "security": OPEN_OR_KEYED,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": reference(takes),
                    "examples": {key: {"value": value} for key, value in examples.items()},
                }
            },
        },
    }


def _read(name: str, summary: str, *gives: str) -> Json:
    schemas = [reference(each) for each in gives]
    done = {"200": good_reply(schemas[0] if len(schemas) == 1 else {"anyOf": schemas})}
    described = operation(name, summary, "Text", done, INFERENCE_ERRORS)
    return described | {"security": OPEN_OR_KEYED}
