"""Python client of the service, for scripts and people. Knows the HTTP interface only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpt2_client.errors import (
    APIError,
    BadReply,
    BadRequest,
    ClientError,
    NotFound,
    RateLimited,
    ScaleRefused,
    ServerError,
    StreamBroken,
    TimedOut,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from gpt2_client.results import (
    Choice,
    Completion,
    EmbeddingOptions,
    Embeddings,
    Event,
    FinishEvent,
    Health,
    Logprobs,
    ModelInfo,
    ModelStatus,
    TextEvent,
    Usage,
    UsageEvent,
    Worker,
)
from gpt2_client.retry import Retry, Timeout

if TYPE_CHECKING:
    from gpt2_client.client import Client
    from gpt2_client.stream import Stream

__version__ = "0.2.0"

__all__ = [
    "APIError",
    "BadReply",
    "BadRequest",
    "Choice",
    "Client",
    "ClientError",
    "Completion",
    "EmbeddingOptions",
    "Embeddings",
    "Event",
    "FinishEvent",
    "Health",
    "Logprobs",
    "ModelInfo",
    "ModelStatus",
    "NotFound",
    "RateLimited",
    "Retry",
    "ScaleRefused",
    "ServerError",
    "Stream",
    "StreamBroken",
    "TextEvent",
    "TimedOut",
    "Timeout",
    "Unauthorized",
    "Unavailable",
    "Unreachable",
    "Usage",
    "UsageEvent",
    "Worker",
]


def __getattr__(name: str) -> object:
    # `requests` takes longer to load than all the rest, and `gpt2 --help` does without it.
    if name in ("Client", "Stream"):
        from gpt2_client import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
