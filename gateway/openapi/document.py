"""The description of the HTTP interface (OpenAPI 3.1), from the models the handler checks with."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.openapi import management, predictions, protocols
from gateway.openapi.management import MODEL, VERSION, with_parameters
from gateway.openapi.parts import (
    INFERENCE_ERRORS,
    KEYED,
    OPEN_OR_KEYED,
    PLAIN_ERRORS,
    Json,
    good_reply,
    operation,
    reference,
)
from gateway.openapi.predictions import PROMPT
from gateway.settings import Settings
from handler.replies import reply_schema
from handler.requests import chat_schema, embedding_schema, schema, token_schema

MODELS = (
    schema.CompletionRequest,
    chat_schema.ChatRequest,
    embedding_schema.EmbeddingRequest,
    token_schema.TokenizeRequest,
    token_schema.DetokenizeRequest,
    reply_schema.Completion,
    reply_schema.Chat,
    reply_schema.Embeddings,
    reply_schema.TokenizeReply,
    reply_schema.DetokenizeReply,
    reply_schema.ModelCard,
    reply_schema.ModelList,
    reply_schema.ErrorReply,
)
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


def describe(settings: Settings) -> Json:
    """Return the whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "GPT-2 on TorchServe",
            "version": "1.0.0",
            "description": "Continue a text. The /v1 routes are those of OpenAI's completions "
            "API, so its clients work: set their base URL to this server's /v1.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": url} for url in (".", settings.public_url) if url],
        "paths": _together(
            _inference(settings),
            management.paths(settings),
            management.paths_of_inference(),
            _service(settings),
            protocols.paths(settings, EVENT),
        ),
        "components": {"schemas": _schemas(), "securitySchemes": _security()},
    }


def _together(*parts: Json) -> Json:
    """Return paths of several parts; one path may have methods in more than one of them."""
    found: Json = {}
    for part in parts:
        for path, methods in part.items():
            found[path] = found.get(path, {}) | methods
    return found


def _schemas() -> Json:
    template = "#/components/schemas/{model}"
    requests = [model for model in MODELS if model.__name__.endswith("Request")]
    replies = [model for model in MODELS if model not in requests]
    modes: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in requests]
    modes += [(model, "serialization") for model in replies]
    _, definitions = models_json_schema(modes, ref_template=template)
    found: Json = definitions["$defs"]
    found.update(predictions.schemas())
    found.update(protocols.schemas())
    found["GenerateRequest"] = {
        "type": "object",
        "required": ["input"],
        "properties": {"input": {"type": "string", "examples": [PROMPT]}},
        "description": "With `inputs` instead of `input` it is a TgiRequest.",
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
        "azure": {"type": "apiKey", "in": "header", "name": "api-key"},
    }


def _inference(settings: Settings) -> Json:
    completions = _post(
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
    )
    completions["responses"]["200"]["content"]["text/event-stream"] = {"schema": EVENT}
    chats = _post(
        "chat_completions",
        "Answer a conversation, if the model has a chat template",
        "ChatRequest",
        "Chat",
        {
            "whole": {"messages": [MESSAGE], "max_completion_tokens": 20},
            "stream": {"messages": [MESSAGE], "max_completion_tokens": 20, "stream": True},
        },
    )
    chats["responses"]["200"]["content"]["text/event-stream"] = {"schema": EVENT}
    embeddings = _post(
        "embeddings",
        "Embed texts",
        "EmbeddingRequest",
        "Embeddings",
        {
            "text": {"input": PROMPT},
            "several": {"input": [PROMPT, "The old house"], "pooling": "last", "dimensions": 64},
        },
    )
    generate = _post(
        "generate",
        f"Continue a text by {settings.n_tokens} tokens",
        "GenerateRequest",
        "GenerateReply",
        {"text": {"input": PROMPT}},
    )
    protocols.take_as_tgi(generate)
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
    predict = predictions.predict(EVENT)
    return {
        "/v1/completions": {"post": completions},
        "/v1/chat/completions": {"post": chats},
        "/v1/embeddings": {"post": embeddings},
        settings.route_generate: {"post": generate},
        "/v1/models": {"get": _read("list_models", "The loaded models", "ModelList")},
        "/v1/models/{model}": with_parameters(
            [MODEL], {"get": protocols.may_be_away(_read("read_model", "One model", "ModelCard"))}
        ),
        "/v1/tokenize": {"post": tokenize},
        "/v1/detokenize": {"post": detokenize},
        **_short({"tokenize": tokenize, "detokenize": detokenize}),
        **_short({"completions": completions, "chat/completions": chats}),
        **_short({"embeddings": embeddings}),
        **_together(_predictions("", predict), management.predictions_by_options()),
        **_predictions("/v1/completions", completions),
        **_predictions("/v1/chat/completions", chats),
        **_predictions("/v1/embeddings", embeddings),
        **_predictions("/v1/tokenize", tokenize),
        **_predictions("/v1/detokenize", detokenize),
    }


def _short(described: Json) -> Json:
    """Return the paths without `/v1`, as vLLM has some of them."""
    return {
        f"/{path}": {"post": one | {"operationId": f"{one['operationId']}_without_v1"}}
        for path, one in described.items()
    }


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


def _service(settings: Settings) -> Json:
    def get(name: str, summary: str, media: str, *errors: int) -> Json:
        schema = {"type": "object" if "json" in media else "string"}
        done = {"200": good_reply(schema, media, "Yes.")}
        return {"get": operation(name, summary, "Service", done, (*PLAIN_ERRORS, *errors))}

    ready = get("ready", "Whether a request would be served now", "application/json")
    ready["get"]["responses"]["503"] = good_reply(
        {"type": "object"}, about="Not now: the service is starting, draining, or has 0 workers."
    )
    health = get("health", "The same, with no body where it would", "application/json")
    health["get"]["responses"] = ready["get"]["responses"] | {"200": {"description": "Yes."}}
    metrics = get("metrics", "Prometheus", "text/plain", 401, 403, 429)
    if settings.metrics_access == "key":
        metrics["get"]["security"] = KEYED
    page = get("page", "The page to write on", "text/html")
    docs = get("docs", "This description, to read", "text/html")
    for files in (page, docs):
        files["get"]["responses"]["304"] = {"description": "As `If-None-Match` says."}
    page["options"] = management.api_description_by_options()
    return {
        "/": page,
        "/docs": docs,
        "/openapi.json": get("openapi", "This description", "application/json"),
        "/health": health,
        "/version": get("version", "The service's version", "application/json"),
        "/health/live": get("live", "Whether the process works", "application/json"),
        "/health/ready": ready,
        "/health_liveness": get("liveness", "The old name of alive", "application/json"),
        "/metrics": metrics,
    }


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


def _read(name: str, summary: str, gives: str) -> Json:
    done = {"200": good_reply(reference(gives))}
    described = operation(name, summary, "Text", done, INFERENCE_ERRORS)
    return described | {"security": OPEN_OR_KEYED}
