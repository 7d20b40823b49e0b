"""The state of an interrupted stream, as the gateway reports it to continue the stream.

Only the gateway may: it knows all of this from frames (`replies/sideband.py`). The stream goes on
with the next event as if nothing had happened, since the same prompt, options and seed give the
same tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handler.older_pythons import SLOTS


@dataclass(frozen=True, **SLOTS)
class ResumedChoice:
    """A choice of which events were sent.

    Attributes:
        tokens: Those that were generated and reported.
        shown: Characters of its text that were sent; None: all that these tokens show.
        finish_reason: Why it ended, if it has.
        cached_tokens: Of its prompt, as counted then.
    """

    tokens: list[int]
    shown: int | None
    finish_reason: str | None
    cached_tokens: int


@dataclass(frozen=True, **SLOTS)
class Resume:
    """A stream that was cut off. `choices`: by index, those that had begun."""

    id: str
    created: int
    seed: int
    choices: Mapping[int, ResumedChoice]

    @classmethod
    def take(cls, body: Any, field: str) -> Resume | None:
        """Take what the gateway says of a stream that is to go on out of a request's body."""
        if isinstance(body, dict) and field in body:
            return cls.read(body.pop(field))
        return None

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Resume:
        """Read what the gateway put together of frames."""
        return cls(
            value["id"],
            value["created"],
            value["seed"],
            {
                choice["choice"]: ResumedChoice(
                    choice["tokens"],
                    choice.get("shown"),
                    choice.get("finish"),
                    choice.get("cached", 0),
                )
                for choice in value["choices"]
            },
        )
