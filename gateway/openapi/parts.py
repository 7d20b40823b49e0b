"""The parts that operations of the HTTP interface are described with (OpenAPI 3.1)."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

ERRORS = {
    400: "A value that is not allowed; the message names the field and what is.",
    401: "No key, or a wrong one.",
    403: "Closed here.",
    404: "No such route or model.",
    405: "This route needs another method.",
    408: "The request took too long to arrive.",
    409: "Not possible in the current state.",
    413: "The body is too long.",
    422: "This request crashes its workers (`poison_request`); do not send it again.",
    429: "Full, or over the limit; `Retry-After` says when to come back.",
    431: "The head of the request is too long.",
    500: "The gateway failed; its log says why.",
    501: "Not supported; the message says what is.",
    502: "TorchServe's answer cannot be passed on.",
    503: "Not ready, or the worker was lost; `Retry-After` says when to come back.",
}
# What any route may answer.
PLAIN_ERRORS = (400, 404, 405, 408, 431, 500)
INFERENCE_ERRORS = (*PLAIN_ERRORS, 401, 413, 422, 429, 502, 503)
MANAGEMENT_ERRORS = (*PLAIN_ERRORS, 401, 403, 409, 413, 429, 502, 503)
OPEN_OR_KEYED: list[Json] = [{}, {"bearer": []}, {"key": []}, {"azure": []}]
KEYED: list[Json] = [{"bearer": []}, {"key": []}, {"azure": []}]
# What management answers.
STATUS: Json = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"type": "string"}},
}
DESCRIPTIONS: Json = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["modelName", "modelVersion", "modelUrl", "minWorkers", "workers"],
    },
}
MODEL_NAMES: Json = {
    "type": "object",
    "required": ["models"],
    "properties": {
        "nextPageToken": {"type": "string"},
        "models": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["modelName", "modelUrl"],
                "properties": {"modelName": {"type": "string"}, "modelUrl": {"type": "string"}},
            },
        },
    },
}


def operation(name: str, summary: str, tag: str, done: Json, errors: tuple[int, ...]) -> Json:
    """Return an operation; `done` are its good replies by their status."""
    return {
        "operationId": name,
        "summary": summary,
        "tags": [tag],
        "responses": {**done, **error_replies(errors)},
    }


def error_replies(statuses: tuple[int, ...]) -> Json:
    """Return the replies for faults, each in OpenAI's shape."""
    replies: Json = {}
    for status in sorted(statuses):
        reply: Json = {
            "description": ERRORS[status],
            "content": {"application/json": {"schema": reference("ErrorReply")}},
        }
        if status in (429, 503):
            about = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            reply["headers"] = {"Retry-After": about}
        replies[str(status)] = reply
    return replies


def good_reply(schema: Json, media: str = "application/json", about: str = "The reply.") -> Json:
    """Return one good reply."""
    return {"description": about, "content": {media: {"schema": schema}}}


def reference(name: str) -> Json:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def in_path(name: str, example: str) -> Json:
    """Return a parameter that is a part of the path."""
    text = {"type": "string", "examples": [example]}
    return {"name": name, "in": "path", "required": True, "schema": text, "example": example}


def in_query(name: str, about: str, kind: Json, *, required: bool = False) -> Json:
    """Return a parameter behind the `?`."""
    return {
        "name": name,
        "in": "query",
        "description": about,
        "schema": kind,
        "required": required,
    }


def together(*parts: Json) -> Json:
    """Return paths of several parts; one path may have methods in more than one of them."""
    found: Json = {}
    for part in parts:
        for path, methods in part.items():
            found[path] = found.get(path, {}) | methods
    return found
