"""Errors a request can meet. Raised where the fault is found, turned into HTTP in one place."""

from __future__ import annotations

from typing import Any

NO_EXPLANATIONS = (
    "There are no explanations; a prompt's log probabilities tell how likely each of its tokens "
    "was: send `echo: true`, `logprobs: 5` and `max_tokens: 0` to v1/completions"
)


class RequestError(Exception):
    """A request that can not be served, in words for the one who sent it."""

    status = 500
    reason = "Internal Server Error"
    kind = "server_error"
    torchserve_type = "InternalServerException"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code

    def torchserves_words(self) -> dict[str, Any]:
        """The error as TorchServe's own are told, for the clients that read those."""
        return {"code": self.status, "type": self.torchserve_type, "message": self.message}


class BadRequest(RequestError):
    """A value that is not allowed."""

    status = 400
    reason = "Bad Request"
    kind = "invalid_request_error"
    torchserve_type = "BadRequestException"


class NotFound(RequestError):
    """A route that does not exist."""

    status = 404
    reason = "Not Found"
    kind = "not_found_error"
    torchserve_type = "ResourceNotFoundException"


class QueueFull(RequestError):
    """More is waiting than the queue may hold."""

    status = 429
    reason = "Too Many Requests"
    kind = "rate_limit_error"
    torchserve_type = "ServiceUnavailableException"


class Unserved(RequestError):
    """What this service does not do, and what it does instead."""

    status = 501
    reason = "Not Implemented"
    kind = "not_implemented_error"


class EngineFailure(RequestError):
    """A text that could not be finished through no fault of the request."""

    status = 503
    reason = "Service Unavailable"
    torchserve_type = "ServiceUnavailableException"


class ModelError(Exception):
    """An archive that can not be served; one line that says why."""
