"""Finds the end of a request's body, by its length or its chunks; all framing is bounded."""

from __future__ import annotations

import re
from typing import NoReturn, Protocol

from gateway.http.head import STRAY, TOKEN, Head, Refusal

QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
EXTENSION = rb"[ \t]*+;[ \t]*+%b+(?:[ \t]*+=[ \t]*+(?:%b+|%b))?" % (TOKEN, TOKEN, QUOTED)
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]++)(?:%b)*+" % EXTENSION)
TRAILER = re.compile(rb"%b+:[\t \x21-\x7e\x80-\xff]*+" % TOKEN)
# What a chunk may cost beside its bytes before it counts as waste, as Go's server has it.
FREE_BYTES = 16
FREE_SHARE = 2
# Lines and parts that are read in one go: others must not wait for a body in tiny chunks.
STEPS = 300
BREAK = b"\r\n"


class Framing(Protocol):
    """Separates a body from what frames it."""

    is_complete: bool
    # Whether `take` stopped for the sake of others, and is to be called again soon.
    has_more: bool

    def take(self, received: bytearray) -> bytes:
        """Remove from `received` what is understood; return what of it is body.

        Raises:
            Refusal: It is not framed soundly, or its frames are too long.
        """


class ByLength:
    """A body of so many bytes."""

    has_more = False

    def __init__(self, length: int) -> None:
        self._left = length
        self.is_complete = length == 0

    def take(self, received: bytearray) -> bytes:
        """See Framing."""
        part = bytes(received[: self._left])
        del received[: len(part)]
        self._left -= len(part)
        self.is_complete = self._left == 0
        return part


class Chunked:
    """A body in chunks. Extensions and trailers are checked and dropped."""

    is_complete = False
    has_more = False

    def __init__(self, most_body: int, most_framing: int) -> None:
        self._most_body = most_body
        self._most_framing = most_framing
        self._size = 0
        self._waste = 0
        # Bytes to come of the chunk that is being read; None between two chunks.
        self._left: int | None = None
        self._in_trailers = False
        self._trailers = 0
        # How far the line that is being read was looked at.
        self._searched = 0

    def take(self, received: bytearray) -> bytes:
        """See Framing."""
        body = bytearray()
        at, steps = 0, STEPS
        self.has_more = True
        while self.has_more and steps:
            steps -= 1
            before = at
            if self._left is not None:
                at = self._take_data(received, at, body)
            elif self._in_trailers:
                at = self._take_trailer(received, at)
            else:
                at = self._take_size(received, at)
            self.has_more = at > before and not self.is_complete
        del received[:at]
        return bytes(body)

    def _take_size(self, received: bytearray, at: int) -> int:
        end = self._end_of_line(received, at)
        seen = (len(received) if end < 0 else end + len(BREAK)) - at
        if self._waste + seen > self._most_framing:
            message = (
                f"The chunks of the body have more than {self._most_framing} unnecessary bytes"
            )
            raise Refusal(413, message, "body_too_large")
        if end < 0:
            return at
        self._begin_chunk(received[at:end])
        self._waste = max(0, self._waste + seen - FREE_BYTES - FREE_SHARE * (self._left or 0))
        return end + len(BREAK)

    def _begin_chunk(self, line: bytearray) -> None:
        found = CHUNK_LINE.fullmatch(line)
        if not found:
            _refuse()
        size = int(found[1], 16)
        self._size += size
        if self._size > self._most_body:
            message = f"The body is longer than {self._most_body} bytes"
            raise Refusal(413, message, "body_too_large")
        if size:
            self._left = size
        else:
            self._in_trailers = True

    def _take_data(self, received: bytearray, at: int, body: bytearray) -> int:
        """Take what there is of a chunk, and the line break behind it."""
        assert self._left is not None
        part = received[at : at + self._left]
        body += part
        at += len(part)
        self._left -= len(part)
        if self._left == 0:
            behind = received[at : at + len(BREAK)]
            if not BREAK.startswith(behind):
                _refuse()
            if len(behind) == len(BREAK):
                self._left = None
                at += len(BREAK)
        return at

    def _take_trailer(self, received: bytearray, at: int) -> int:
        end = self._end_of_line(received, at)
        seen = (len(received) if end < 0 else end + len(BREAK)) - at
        if self._trailers + seen > self._most_framing:
            message = f"The trailers of the request are longer than {self._most_framing} bytes"
            raise Refusal(431, message, "trailers_too_large")
        if end < 0:
            return at
        self._trailers += seen
        if end == at:
            self.is_complete = True
        elif not TRAILER.fullmatch(received, at, end):
            _refuse()
        return end + len(BREAK)

    def _end_of_line(self, received: bytearray, at: int) -> int:
        """Return where the line at `at` ends, -1 where its end has not come."""
        end = received.find(BREAK, at + self._searched)
        if end >= 0:
            self._searched = 0
        elif STRAY.search(received, at + self._searched):
            _refuse()
        else:
            self._searched = max(0, len(received) - at - 1)
        return end


def framing_of(head: Head, most_body: int, most_framing: int) -> Framing:
    """Return what reads the body of a request with this head."""
    return Chunked(most_body, most_framing) if head.length is None else ByLength(head.length)


def _refuse() -> NoReturn:
    raise Refusal(400, "The chunks of the body are not valid", "invalid_http")
