"""The description of the HTTP interface (OpenAPI 3.1), from the models the handler checks with."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.settings import Settings
from handler import schema

Json = dict[str, Any]

ERRORS = {
    400: "A value that is not allowed; the message names the field and what is.",
    401: "No key, or a wrong one.",
    403: "Closed here.",
    404: "No such route or model.",
    405: "Another method is for this route.",
    408: "The request came too slowly.",
    409: "Not possible in the present state.",
    413: "The body is too long.",
    429: "Full, or over the limit; `Retry-After` says when to come back.",
    431: "The head of the request is too long.",
    503: "Not ready, or lost on the way; `Retry-After` says when to come back.",
}
INFERENCE_ERRORS = (400, 401, 404, 405, 408, 413, 429, 431, 503)
MANAGEMENT_ERRORS = (400, 401, 403, 404, 405, 409, 431, 503)
PLAIN_ERRORS = (404, 405, 431)
MODELS = (
    schema.CompletionRequest,
    schema.TokenizeRequest,
    schema.DetokenizeRequest,
    schema.Completion,
    schema.TokenizeReply,
    schema.DetokenizeReply,
    schema.ModelCard,
    schema.ModelList,
    schema.ErrorReply,
)
EVENT: Json = {
    "description": "One event of a stream.",
    "type": "object",
    "properties": {"data": {"description": "A Completion as JSON, or [DONE].", "type": "string"}},
}
PROMPT = "Once upon a time"


def describe(settings: Settings) -> Json:
    """Return the whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "GPT-2 on TorchServe",
            "version": "1.0.0",
            "description": "Go on with a text. The /v1 routes are those of OpenAI's completions "
            "API, so its clients work: set their base URL to this server's /v1.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            **_inference(settings),
            **_management(),
            **_service(),
        },
        "components": {"schemas": _schemas(), "securitySchemes": _security()},
    }


def _schemas() -> Json:
    template = "#/components/schemas/{model}"
    requests = [model for model in MODELS if model.__name__.endswith("Request")]
    replies = [model for model in MODELS if model not in requests]
    modes: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in requests]
    modes += [(model, "serialization") for model in replies]
    _, definitions = models_json_schema(modes, ref_template=template)
    found: Json = definitions["$defs"]
    found["GenerateRequest"] = {
        "type": "object",
        "required": ["input"],
        "properties": {"input": {"type": "string", "examples": [PROMPT]}},
    }
    text = {"type": "string"}
    found["GenerateReply"] = {
        "type": "object",
        "required": ["version", "body"],
        "properties": {
            "version": {"const": "v1.0.0"},
            "body": {
                "type": "object",
                "required": ["query", "generated", "result"],
                "properties": {"query": text, "generated": text, "result": text},
            },
        },
    }
    return found


def _security() -> Json:
    return {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "`Authorization: Bearer KEY`",
        },
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }


def _inference(settings: Settings) -> Json:
    completions = _post(
        "completions",
        "Go on with a prompt",
        "CompletionRequest",
        "Completion",
        {
            "whole": {"prompt": PROMPT, "max_tokens": 20, "temperature": 0.8},
            "stream": {"prompt": PROMPT, "stream": True, "stream_options": {"include_usage": True}},
            "several": {"prompt": PROMPT, "n": 3, "seed": 42, "stop": ["."]},
            "scores": {"prompt": PROMPT, "max_tokens": 0, "echo": True, "logprobs": 2},
        },
    )
    completions["responses"]["200"]["content"]["text/event-stream"] = {"schema": EVENT}
    generate = _post(
        "generate",
        f"Go on with a text, {settings.n_tokens} tokens",
        "GenerateRequest",
        "GenerateReply",
        {"text": {"input": PROMPT}},
    )
    tokenize = _post(
        "tokenize",
        "Text to token ids",
        "TokenizeRequest",
        "TokenizeReply",
        {"text": {"text": PROMPT}},
    )
    detokenize = _post(
        "detokenize",
        "Token ids to text",
        "DetokenizeRequest",
        "DetokenizeReply",
        {"tokens": {"tokens": [40, 41, 42]}},
    )
    predict = _post(
        "predict",
        "TorchServe's own path: JSON in, a completion out; plain text in, plain text out",
        "CompletionRequest",
        "Completion",
        {"text": {"input": PROMPT}},
    )
    predict["parameters"] = [_path("model", "gpt2")]
    predict["requestBody"]["content"]["text/plain"] = {"schema": {"type": "string"}}
    predict["responses"]["200"]["content"]["text/plain"] = {"schema": {"type": "string"}}
    predict["responses"]["200"]["content"]["text/event-stream"] = {"schema": EVENT}
    models = _get("list_models", "The loaded models", "ModelList", INFERENCE_ERRORS)
    model = _get("describe_model", "One model", "ModelCard", INFERENCE_ERRORS)
    model["parameters"] = [_path("model", "gpt2")]
    for operation in (models, model):
        operation["security"] = [{}, {"bearer": []}, {"key": []}]
        operation["tags"] = ["Text"]
    return {
        "/v1/completions": {"post": completions},
        settings.route_generate: {"post": generate},
        "/predictions/{model}": {"post": predict},
        "/v1/models": {"get": models},
        "/v1/models/{model}": {"get": model},
        "/v1/tokenize": {"post": tokenize},
        "/v1/detokenize": {"post": detokenize},
    }


def _management() -> Json:
    model, version = _path("model", "gpt2"), _path("version", "1.0")
    count = {"type": "integer", "minimum": 1}
    wait = _query("synchronous", "Answer when it is done.", {"type": "boolean"})
    register = _managed("register", "Load an archive of the model store", 200)
    register["parameters"] = [
        _query("url", "Name of the archive.", {"type": "string"}, required=True),
        _query("model_name", "Name of the model.", {"type": "string"}),
        _query("initial_workers", "Copies.", count),
        wait,
    ]
    scale = _managed(
        "scale", "Set the number of workers; what is removed is drained first", 200, 202
    )
    scale["parameters"] = [model, _query("min_worker", "Workers.", count), wait]
    listed = _managed("list", "The models", 200)
    listed["parameters"] = [_query("limit", "At most so many.", count)]
    described = _managed("describe", "A model and its workers", 200)
    described["parameters"] = [model]
    removed = _managed("unregister", "Drain and remove a model", 200)
    removed["parameters"] = [model]
    default = _managed("set_default", "Let this version serve", 200)
    default["parameters"] = [model, version]
    return {
        "/models": {"get": listed, "post": register},
        "/models/{model}": {"get": described, "put": scale, "delete": removed},
        "/models/{model}/{version}/set-default": {"put": default},
    }


def _service() -> Json:
    def get(name: str, summary: str, media: str, *errors: int) -> Json:
        content = {media: {"schema": {"type": "object" if "json" in media else "string"}}}
        return {
            "operationId": name,
            "summary": summary,
            "tags": ["Service"],
            "responses": {"200": {"description": "Yes.", "content": content}, **_errors(errors)},
        }

    ready = get("ready", "Whether a request would be served now", "application/json", *PLAIN_ERRORS)
    ready["responses"]["503"] = {
        "description": "Not now.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
    metrics_errors = (401, 403, *PLAIN_ERRORS)
    return {
        "/health/live": {
            "get": get("live", "Whether the process works", "application/json", *PLAIN_ERRORS)
        },
        "/health/ready": {"get": ready},
        "/health_liveness": {
            "get": get("liveness", "The old name of alive", "application/json", *PLAIN_ERRORS)
        },
        "/metrics": {"get": get("metrics", "Prometheus", "text/plain", *metrics_errors)},
    }


def _post(name: str, summary: str, takes: str, gives: str, examples: Json) -> Json:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["Text"],
        "security": [{}, {"bearer": []}, {"key": []}],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _reference(takes),
                    "examples": {key: {"value": value} for key, value in examples.items()},
                }
            },
        },
        "responses": {"200": _reply(gives), **_errors(INFERENCE_ERRORS)},
    }


def _get(name: str, summary: str, gives: str, errors: tuple[int, ...]) -> Json:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": _reply(gives), **_errors(errors)},
    }


def _managed(name: str, summary: str, *statuses: int) -> Json:
    done = {
        "description": "Done, or begun.",
        "content": {"application/json": {"schema": {"type": ["object", "array"]}}},
    }
    return {
        "operationId": f"{name}_model",
        "summary": summary,
        "tags": ["Management"],
        "security": [{"bearer": []}, {"key": []}],
        "responses": {
            **{str(status): done for status in statuses},
            **_errors(MANAGEMENT_ERRORS),
        },
    }


def _errors(statuses: tuple[int, ...]) -> Json:
    content = {"application/json": {"schema": _reference("ErrorReply")}}
    replies: Json = {}
    for status in sorted(statuses):
        reply: Json = {"description": ERRORS[status], "content": content}
        if status in (429, 503):
            about = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            reply["headers"] = {"Retry-After": about}
        replies[str(status)] = reply
    return replies


def _reply(gives: str) -> Json:
    content = {"application/json": {"schema": _reference(gives)}}
    return {"description": "The reply.", "content": content}


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _path(name: str, example: str) -> Json:
    text = {"type": "string", "examples": [example]}
    return {"name": name, "in": "path", "required": True, "schema": text, "example": example}


def _query(name: str, about: str, kind: Json, *, required: bool = False) -> Json:
    return {
        "name": name,
        "in": "query",
        "description": about,
        "schema": kind,
        "required": required,
    }
