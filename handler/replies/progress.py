"""The progress of a reply's sequences: finish reasons and token counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from handler.errors import RequestError
from handler.requests.prompt_reader import PromptText


class Progress:
    """How far a reply's sequences are; for the attributes and properties see `PendingReply`."""

    def __init__(self, num_sequences: int) -> None:
        self.error: RequestError | None = None
        self.finish_reasons: list[str | None] = [None] * num_sequences

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""
        return self.error is not None or all(self.finish_reasons)

    @property
    def end_reason(self) -> str:
        """Why it ended, for its metrics: stop, length, error, or abort for a client that left."""
        if self.error is not None:
            return "error"
        if not self.finished:
            return "abort"
        return "length" if "length" in self.finish_reasons else "stop"


def usage_of(
    prompts: Sequence[PromptText], completion_tokens: int, cached_tokens: int
) -> dict[str, Any]:
    """The token counts of a reply; each prompt counts once however many completions follow it."""
    details = {
        "cached_tokens": cached_tokens,
        "truncated_tokens": sum(prompt.truncated_tokens for prompt in prompts),
    }
    unread = sum(prompt.unread_characters for prompt in prompts)
    if unread:
        details["unread_characters"] = unread
    prompt_tokens = sum(len(prompt.tokens) for prompt in prompts)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": details,
    }
