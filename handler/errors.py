"""Errors that a request can meet, raised where the fault is found.

replies/error_replies.py says what each of them is in HTTP, in OpenAI's words and in TorchServe's.
"""

from __future__ import annotations

NO_EXPLANATIONS = (
    "Explanations are not supported. To see how likely each token of a prompt is, send `echo: "
    "true`, `logprobs: 5` and `max_tokens: 0` to v1/completions"
)

# Codes of what may show only while a text is written, and is the request's own all the same: asked
# again, it ends the same way.
INVALID_GRAMMAR, NOTHING_ALLOWED = "invalid_grammar", "nothing_allowed"
OF_REQUEST = frozenset({INVALID_GRAMMAR, NOTHING_ALLOWED})

# A message may quote what was sent, which may be a number of thousands of digits.
MOST_CHARS = 1000


def bounded(message: str) -> str:
    """A message that fits a reply and a line of the log."""
    return message if len(message) <= MOST_CHARS else message[: MOST_CHARS - 3] + "..."


class RequestError(Exception):
    """A request that cannot be served, in words for the one who sent it."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        self.message = bounded(message)
        super().__init__(self.message)
        self.param = param
        self.code = code


class BadRequest(RequestError):
    """A value that is not allowed."""


class NotFound(RequestError):
    """A route that does not exist."""


class TooBusy(RequestError):
    """More is waiting than the queue may hold."""


class Unserved(RequestError):
    """What this service does not do, and what it does instead."""


class EngineFailure(RequestError):
    """A sequence that could not be finished through no fault of the request."""
