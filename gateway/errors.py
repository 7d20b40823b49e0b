"""Faults the gateway finds itself, each with its status and OpenAI's words for it."""

from __future__ import annotations

import json
from typing import Any

from handler.utf8 import encoded


class GatewayError(Exception):
    """A request that ends here, in words for the one who sent it."""

    status = 500
    kind = "server_error"
    code: str | None = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.code
        self.retry_after = retry_after

    def body(self) -> bytes:
        """Return the JSON every error is told in."""
        return error_body(self.message, self.kind, self.param, self.code)


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


class MethodNotAllowed(GatewayError):
    """The route is there, for other methods."""

    status = 405
    kind = "invalid_request_error"
    code = "method_not_allowed"


class RequestTimeout(GatewayError):
    """The request came too slowly."""

    status = 408
    kind = "invalid_request_error"
    code = "request_timeout"


class Conflict(GatewayError):
    """What is asked for can not be done in the present state."""

    status = 409
    kind = "invalid_request_error"


class TooLarge(GatewayError):
    """The body is longer than allowed."""

    status = 413
    kind = "invalid_request_error"
    code = "body_too_large"


class TooManyRequests(GatewayError):
    """Full, or over the limit."""

    status = 429
    kind = "rate_limit_error"
    code = "rate_limit_exceeded"


class BadGateway(GatewayError):
    """TorchServe answered something that can not be passed on."""

    status = 502


class Unavailable(GatewayError):
    """Not ready, or lost on the way."""

    status = 503
    code = "unavailable"


def draining() -> Unavailable:
    """Return what new work is told while the service shuts down."""
    return Unavailable("The service is shutting down", code="draining", retry_after=5)


KINDS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "server_error": 503,
}


def error_body(message: str, kind: str, param: str | None, code: str | None) -> bytes:
    """Return an error in OpenAI's shape, as JSON."""
    detail: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": code}
    return encoded(json.dumps({"error": detail}, ensure_ascii=False))


def error_event(message: str, code: str) -> bytes:
    """Return the events that end a stream which can not go on."""
    return b"data: " + error_body(message, "server_error", None, code) + b"\n\ndata: [DONE]\n\n"
