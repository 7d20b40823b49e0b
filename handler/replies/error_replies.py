"""Status and type of each error in OpenAI's format and TorchServe's; who raises it has the text."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from handler.errors import (
    BadRequest,
    EngineFailure,
    NotFound,
    RequestError,
    TooBusy,
    Unserved,
)
from handler.older_pythons import SLOTS


@dataclass(frozen=True, **SLOTS)
class Words:
    """A status, and what two kinds of clients call it."""

    status: HTTPStatus
    openai: str
    torchserve: str


FAILED = Words(HTTPStatus.INTERNAL_SERVER_ERROR, "server_error", "InternalServerException")
WORDS: dict[type[RequestError], Words] = {
    BadRequest: Words(HTTPStatus.BAD_REQUEST, "invalid_request_error", "BadRequestException"),
    NotFound: Words(HTTPStatus.NOT_FOUND, "not_found_error", "ResourceNotFoundException"),
    TooBusy: Words(HTTPStatus.TOO_MANY_REQUESTS, "rate_limit_error", "ServiceUnavailableException"),
    Unserved: Words(HTTPStatus.NOT_IMPLEMENTED, "not_implemented_error", "InternalServerException"),
    EngineFailure: Words(
        HTTPStatus.SERVICE_UNAVAILABLE, "server_error", "ServiceUnavailableException"
    ),
}


def status_of(error: RequestError) -> HTTPStatus:
    """The status an error is answered with."""
    return _words(error).status


def error_body(error: RequestError) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    detail = {
        "message": error.message,
        "type": _words(error).openai,
        "param": error.param,
        "code": error.code,
    }
    return {"error": detail}


def in_torchserves_words(error: RequestError) -> dict[str, Any]:
    """An error as TorchServe's own are written, for the clients that read those."""
    words = _words(error)
    return {"code": int(words.status), "type": words.torchserve, "message": error.message}


def in_kserves_words(error: RequestError) -> dict[str, Any]:
    """An error as KServe's clients read it: a text."""
    return {"error": error.message}


def _words(error: RequestError) -> Words:
    return WORDS.get(type(error), FAILED)
