"""The errors of this package, as one small hierarchy. Knows no HTTP library."""

from __future__ import annotations

from collections.abc import Mapping


class ClientError(Exception):
    """Base of everything this package raises on purpose."""


class Unreachable(ClientError):
    """No connection could be made, or it broke before a whole reply had come."""


class TimedOut(ClientError):
    """The server took longer than the time-out allows."""


class BadReply(ClientError):
    """The reply is not what this service sends: something else answers at that address."""


class StreamBroken(ClientError):
    """A stream that had begun ended early; what came until then has been handed out."""


class ScaleRefused(ClientError):
    """The wanted number of workers would harm running streams."""


class APIError(ClientError):
    """The server answered with an error."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        type: str | None = None,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.type = type
        self.param = param
        self.code = code
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, dict[str, str | None]]:
        """The error as OpenAI's API has it in a reply."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }


class BadRequest(APIError):
    """A value was refused (400, 405, 413); `param` names it where one is to blame."""


class Unauthorized(APIError):
    """No key, or one that does not open this (401, 403)."""


class NotFound(APIError):
    """No such model, version or route (404)."""


class RateLimited(APIError):
    """Too many requests at once (429); `retry_after` in seconds where the server said so."""


class ServerError(APIError):
    """The server failed (5xx)."""


class Unavailable(ServerError):
    """The server is not ready, or lost its worker (503)."""


_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "server_error": 500,
}


def api_error(
    body: object, status: int | None = None, retry_after: float | None = None
) -> APIError:
    """Make the right error from a reply's body; without `status` its type decides.

    Takes OpenAI's shape ({"error": {...}}) and TorchServe's own ({"code", "type", "message"}).
    """
    fields: Mapping[str, object] = body if isinstance(body, Mapping) else {}
    inner = fields.get("error", fields)
    if isinstance(inner, Mapping):
        fields = inner
        message = fields.get("message")
    else:
        message = inner
    kind = _text(fields.get("type"))
    if status is None:
        status = _STATUS_OF_TYPE.get(kind or "", 500)
    return _class_of(status)(
        str(message) if message else f"the server answered {status}",
        status=status,
        type=kind,
        param=_text(fields.get("param")),
        code=_text(fields.get("code")),
        retry_after=retry_after,
    )


def _class_of(status: int) -> type[APIError]:
    exact: dict[int, type[APIError]] = {
        401: Unauthorized,
        403: Unauthorized,
        404: NotFound,
        429: RateLimited,
        503: Unavailable,
    }
    if status in exact:
        return exact[status]
    return ServerError if status >= 500 else BadRequest


def _text(value: object) -> str | None:
    return None if value is None else str(value)
