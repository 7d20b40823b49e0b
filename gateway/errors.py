"""Kinds of errors that the gateway finds: status, type and code; who raises one writes its text."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from handler.content.utf8 import encoded
from handler.errors import bounded


class GatewayError(Exception):
    """A request that ends here, in words for its sender."""

    status = 500
    kind = "server_error"
    code: str | None = None
    # What TorchServe calls it, where the status does not say that.
    torchserve_type: str | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.message = bounded(message)
        super().__init__(self.message)
        self.param = param
        self.code = code or self.code
        self.retry_after = retry_after

    def body(self, clients: Clients) -> bytes:
        """Return the error as JSON, for these clients."""
        return to_json(for_clients(clients, self.status, self.detail, self.torchserve_type))

    @property
    def detail(self) -> dict[str, Any]:
        """The error in OpenAI's shape."""
        return error_detail(self.message, self.kind, self.param, self.code)


class BadRequest(GatewayError):
    """A value that is not allowed."""

    status = 400
    kind = "invalid_request_error"


class Unauthorized(GatewayError):
    """No key, or a wrong one."""

    status = 401
    kind = "authentication_error"
    code = "invalid_api_key"


class Forbidden(GatewayError):
    """Closed here, whatever the key."""

    status = 403
    kind = "permission_error"


class NotFound(GatewayError):
    """No such route or model."""

    status = 404
    kind = "not_found_error"


class ModelNotFound(NotFound):
    """No such model."""

    code = "model_not_found"
    torchserve_type = "ModelNotFoundException"


class VersionNotFound(ModelNotFound):
    """The model is there, in other versions."""

    torchserve_type = "ModelVersionNotFoundException"


class MethodNotAllowed(GatewayError):
    """The route is there, for other methods."""

    status = 405
    kind = "invalid_request_error"
    code = "method_not_allowed"


class RequestTimeout(GatewayError):
    """The request took too long to arrive."""

    status = 408
    kind = "invalid_request_error"
    code = "request_timeout"


class Conflict(GatewayError):
    """What is asked for cannot be done in the present state."""

    status = 409
    kind = "invalid_request_error"


class TooLarge(GatewayError):
    """The body is longer than allowed."""

    status = 413
    kind = "invalid_request_error"
    code = "body_too_large"


class Poison(GatewayError):
    """A request that its workers crash of."""

    status = 422  # of 500 and more, clients try again by themselves
    kind = "invalid_request_error"
    code = "poison_request"


class TooManyRequests(GatewayError):
    """Full, or over the limit."""

    status = 429
    kind = "rate_limit_error"
    code = "rate_limit_exceeded"


class Unserved(GatewayError):
    """What this service does not do, and what it does instead."""

    status = 501
    kind = "not_implemented_error"
    code = "not_implemented"


class BadGateway(GatewayError):
    """TorchServe's answer cannot be passed on."""

    status = 502


class Unavailable(GatewayError):
    """Not ready, or lost on the way."""

    status = 503
    code = "unavailable"


def draining() -> Unavailable:
    """Return what new work is answered while the service shuts down."""
    return Unavailable("The service is shutting down", code="draining", retry_after=5)


KINDS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "not_implemented_error": 501,
    "server_error": 503,
}


class Clients(Enum):
    """Whose clients read a reply, and so which shape its errors have."""

    OPENAI = "openai"
    TORCHSERVE = "torchserve"
    KSERVE = "kserve"
    TGI = "tgi"


TORCHSERVE_PATHS = ("/models", "/predictions/", "/explanations/", "/invocations")
# KServe's V2 and, by their ends, V1's predictions.
KSERVE_PATHS, KSERVE_ENDS = ("/v2/",), (":predict", ":explain")
TGI_PATHS = ("/generate_stream", "/info")
# The names of TorchServe's exceptions by status.
TORCHSERVE_TYPES = {
    400: "BadRequestException",
    401: "InvalidKeyException",
    403: "InvalidKeyException",
    404: "ResourceNotFoundException",
    405: "MethodNotAllowedException",
    408: "RequestTimeoutException",
    409: "ConflictStatusException",
    413: "BadRequestException",
    429: "ServiceUnavailableException",
    503: "ServiceUnavailableException",
}


def clients_of(method: str, path: str) -> Clients:
    """Return whose clients ask for `path`."""
    if path.startswith(KSERVE_PATHS) or path == "/v2" or path.endswith(KSERVE_ENDS):
        return Clients.KSERVE
    if path in TGI_PATHS or (method, path) == ("POST", "/"):
        return Clients.TGI
    return Clients.TORCHSERVE if path.startswith(TORCHSERVE_PATHS) else Clients.OPENAI


def for_clients(
    clients: Clients, status: int, detail: dict[str, Any], kind: str | None = None
) -> dict[str, Any]:
    """Return an error of OpenAI's shape in the one that these clients read; same words in all.

    `kind` is what TorchServe calls it, where the status does not say that.
    """
    message = detail["error"].get("message")
    if clients is Clients.KSERVE:
        return {"error": message}
    if clients is Clients.TGI:
        return {"error": message, "error_type": _tgi_type(status)}
    if clients is Clients.TORCHSERVE:
        kind = kind or TORCHSERVE_TYPES.get(status, "InternalServerException")
        return {"code": status, "type": kind, "message": message, **detail}
    return detail


def _tgi_type(status: int) -> str:
    """Return what TGI calls an error."""
    if status == 429:
        return "overloaded"
    return "generation" if status >= 500 else "validation"


def error_detail(message: str, kind: str, param: str | None, code: str | None) -> dict[str, Any]:
    """Return an error in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def to_json(value: dict[str, Any]) -> bytes:
    """Return JSON as it is sent."""
    return encoded(json.dumps(value, ensure_ascii=False))


def error_body(message: str, kind: str, param: str | None, code: str | None) -> bytes:
    """Return an error in OpenAI's shape, as JSON."""
    return to_json(error_detail(message, kind, param, code))


def error_event(message: str, code: str, clients: Clients) -> bytes:
    """Return the events that end a stream which cannot go on."""
    return last_events(error_detail(message, "server_error", None, code), clients)


def last_events(detail: dict[str, Any], clients: Clients) -> bytes:
    """Return an error of OpenAI's shape as the end of a stream; some clients know no `[DONE]`."""
    if clients in (Clients.KSERVE, Clients.TGI):
        status = KINDS.get(str(detail["error"].get("type")), 503)
        return b"data: " + to_json(for_clients(clients, status, detail)) + b"\n\n"
    return b"data: " + to_json(detail) + b"\n\ndata: [DONE]\n\n"
