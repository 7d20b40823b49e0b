"""The description of the HTTP interface (OpenAPI 3.1), from the models the handler checks with."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.openapi import inference, management, predictions, protocols
from gateway.openapi.inference import EVENT
from gateway.openapi.parts import KEYED, PLAIN_ERRORS, Json, good_reply, operation, together
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
    reply_schema.ListedModel,
    reply_schema.ModelList,
    reply_schema.ErrorReply,
)


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
        "paths": together(
            inference.paths(settings),
            management.paths(settings),
            management.paths_of_inference(),
            _service(settings),
            protocols.paths(settings, EVENT),
        ),
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
    page = get("page", "The writing page", "text/html")
    docs = get("docs", "This description as a page", "text/html")
    for files in (page, docs):
        files["get"]["responses"]["304"] = {"description": "Not modified: `If-None-Match` matches."}
    status = get("status", "The operator's page", "text/html")
    facts = get("status_facts", "What the operator's page shows", "application/json", 401, 403, 429)
    facts["get"]["security"] = KEYED
    page["options"] = management.api_description_by_options()
    return {
        "/": page,
        "/docs": docs,
        "/openapi.json": get("openapi", "This description", "application/json"),
        "/health": health,
        "/version": get("version", "The service's version", "application/json"),
        "/health/live": get("live", "Whether the process works", "application/json"),
        "/health/ready": ready,
        "/health_liveness": get("liveness", "An older name of `/health/live`", "application/json"),
        "/metrics": metrics,
        "/status": status,
        "/status/facts": facts,
    }
