"""The interface of a reply in progress, as the handler and the metrics see it."""

from __future__ import annotations

from typing import Any, Protocol

from handler.engine.output import Output
from handler.engine.sequence import Sequence
from handler.errors import RequestError
from handler.replies import sideband
from handler.replies.timings import Timings

Json = dict[str, Any]


class PendingReply(Protocol):
    """Takes the engine's outputs in, and hands out what can be sent."""

    ignored_fields: str
    timings: Timings

    @property
    def error(self) -> RequestError | None:
        """What ended it before its time."""

    @property
    def finish_reasons(self) -> list[str | None]:
        """Why each of its sequences ended, if it has."""

    @property
    def streams(self) -> bool:
        """Whether it is sent as it is written."""

    @property
    def content_type(self) -> str:
        """Of what is sent."""

    @property
    def finished(self) -> bool:
        """Whether nothing more will come."""

    @property
    def end_reason(self) -> str:
        """Why it ended, for its metrics."""

    @property
    def usage(self) -> Json:
        """Token counts so far."""

    @property
    def sequences(self) -> list[Sequence]:
        """What the engine is to generate for it."""

    @property
    def tokens_waiting(self) -> int:
        """Tokens whose log probabilities are to be written out with what is sent next."""

    def add(self, output: Output) -> None:
        """Take in what one step gave."""

    def take_chunk(self) -> str:
        """What can be sent now; may be empty."""

    def take_end(self) -> str:
        """What closes the reply."""


def last_frame(reply: PendingReply, *, ends: bool = False, seed: int | None = None) -> str:
    """The frame at a reply's end; of a whole reply it says by which seed it was generated too."""
    end: Json = {
        "usage": reply.usage,
        "finish_reasons": reply.finish_reasons,
        "error": reply.error and reply.error.code,
    }
    if (timings := reply.timings.as_fields()) is not None:
        end["timings"] = timings
    if ends:
        end["ends"] = True
    if seed is not None:
        end["seed"] = seed
    return sideband.frame(sideband.fields(end))
