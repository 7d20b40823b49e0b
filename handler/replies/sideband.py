"""Frames from the handler to the gateway, beside a stream's events; no client sees them.

The gateway asks for it with the header HEADER, whose value is a secret that it made itself and
handed to the worker in the variable SECRET_VARIABLE. Every event is then preceded by one frame:
RS (byte 0x1E), a JSON object on one line, LF. JSON escapes control characters, so that RS occurs in
no event and in no frame; a frame and its event are cut together, behind the event's blank line.

A frame before an event of a choice, those of prompt 0 first:

    {"choice": 3, "sample": 1, "tokens": [464, 318], "finish": "length"}

`tokens` are the ids generated since the choice's frame before, those included whose text is still
held back; where log probabilities are asked for, only those whose own have been sent, and `shown`
besides, the characters of its text so far. `finish` stands where the choice ends, `cached` in its
first frame: the prompt's tokens that were not computed. The first frame of all has `id`, `created`
and `seed` besides, and `cut_prompts`: the ids that were kept of each prompt that was cut, by the
prompt's number. A stream that was cut off goes on where the same body, and in it RESUME with what
these frames said (`requests/resume.py`), is sent again. Events of no choice (usage, an error, the
end) have frames with `usage`, `finish_reasons`, `error`, a code or null, and `timings`
(`timings.py`); and `ends` where no `[DONE]` follows. That of a whole completion has `seed` too. A
whole reply that is no completion has one such frame as its first line.

What a reply is called, and the seed of a stream that names none, the gateway says in the header
IDENTITY_HEADER: it may have begun to answer before the handler was asked, or after a worker that it
had asked was lost.

Imports nothing heavy: the gateway loads it too.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
from dataclasses import dataclass, replace
from typing import Any

HEADER = "x-gpt2-sideband"
IDENTITY_HEADER = "x-gpt2-identity"
SECRET_VARIABLE = "GPT2_SIDEBAND_SECRET"
# The field of a completion's body that says what of its stream has come already.
RESUME = "resume"
# The content type of a stream that has frames in it.
CONTENT_TYPE = "text/event-stream; charset=utf-8; sideband=1"
# What the content type of a whole reply ends with whose first line is a frame.
SUFFIX = "; sideband=1"
MARK = "\x1e"
_MARK = MARK.encode()
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class Identity:
    """What a reply is called, and when it was begun (Unix seconds); a seed where none is given."""

    id: str
    created: int
    seed: int

    @classmethod
    def new(cls) -> Identity:
        """One that nothing else has."""
        return cls(secrets.token_hex(16), int(time.time()), secrets.randbits(63))

    @classmethod
    def read(cls, header: str) -> Identity:
        """What `as_header` wrote."""
        name, created, seed = header.split(" ")
        return cls(name, int(created), int(seed))

    def of_item(self, number: int) -> Identity:
        """That of an item of a list; the first has the reply's own."""
        return replace(self, id=f"{self.id}-{number}") if number else self

    def as_header(self) -> str:
        """As a header's value."""
        return f"{self.id} {self.created} {self.seed}"


def is_asked_for(given: str, secret: str) -> bool:
    """Whether a header's value is the secret; without a secret none is right."""
    return bool(secret) and hmac.compare_digest(given.encode(), secret.encode())


def of_choice(choice: int, sample: int, tokens: list[int], finish: str | None, more: str) -> str:
    """The frame before an event of a choice, without its first fields and its end."""
    ids = ",".join(map(str, tokens))
    end = f',"finish":"{finish}"' if finish else ""
    return f'"choice":{choice},"sample":{sample},"tokens":[{ids}]{more}{end}'


def frame(fields: str) -> str:
    """A whole frame of JSON fields."""
    return f"{MARK}{{{fields}}}\n"


def fields(values: dict[str, Any]) -> str:
    """Values as the fields of a frame."""
    return _encode(values)[1:-1]


def opened(body: bytes) -> tuple[bytes, bytes]:
    """The frame's JSON and the body of a whole reply, which may hold any character."""
    own, _, shown = body.partition(b"\n")
    return own.removeprefix(_MARK), shown


def split(chunk: bytes) -> tuple[bytes, list[bytes]]:
    """Take whole events and their frames apart: what a client may see, and the frames' JSON."""
    events, *framed = chunk.split(_MARK)
    frames = []
    for part in framed:
        own, _, shown = part.partition(b"\n")
        frames.append(own)
        events += shown
    return events, frames
