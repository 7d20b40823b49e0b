"""The replies in flight: who gets a chunk in this step, and which work goes to the workshop."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any, Optional

from handler.engine.output import Output
from handler.replies.pending_reply import PendingReply
from handler.service import Service
from handler.torchserve.metrics import RequestMetrics
from handler.workshop import Part, Workshop

# Tokens whose log probabilities are written out within one step: 1 to 2 ms.
MOST_TOKENS_AT_ONCE = 64
# How often a whole reply that is not complete sends an empty chunk: TorchServe sees that a client
# has left only when it writes to it.
SIGN_SECONDS = 0.1

# What is sent, whether it is the last (None: no stream), and its content type.
Chunk = tuple[Optional[str], Optional[bool], str]
NO_CHUNK: Chunk = (None, None, "")


class InFlight:
    """Replies that are being generated, by the id of their request.

    Attributes:
        by_grpc: Ids of the requests that came over gRPC.
    """

    def __init__(
        self,
        service: Service,
        metrics: RequestMetrics,
        workshop: Workshop,
        *,
        is_continuous: bool,
        rows_can_wait: bool,
    ) -> None:
        self.by_grpc: set[str] = set()
        self._service = service
        self._metrics = metrics
        self._workshop = workshop
        self._is_continuous = is_continuous
        self._rows_can_wait = rows_can_wait
        self._replies: dict[str, PendingReply] = {}
        # Parts of replies that the workshop writes out.
        self._parts: dict[str, Part] = {}
        self._begun: set[str] = set()
        # When an empty chunk of a whole reply was sent last.
        self._signs: dict[str, float] = {}
        self._tokens = 0  # see `_is_too_long`

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._replies

    @property
    def works(self) -> list[Future[Any]]:
        """What the workshop is at."""
        return [part.text for part in self._parts.values()]

    def submit(self, request_id: str, reply: PendingReply) -> None:
        """Have a reply generated: from now on its outputs may come.

        Raises:
            TooBusy: There is no room.
        """
        self._service.submit(reply)
        self._replies[request_id] = reply

    def drop_all_but(self, ids: set[str]) -> None:
        """Forget requests whose clients have left."""
        gone = self._replies.keys() - ids
        if gone:
            self._service.engine.cancel(gone)
            for request_id in gone:
                self._metrics.record(self._replies[request_id])
                self._forget(request_id)

    def is_writing(self, request_id: str) -> bool:
        """Whether the workshop writes out a part of a reply."""
        return request_id in self._parts

    def wait(self, ids: Iterable[str]) -> None:
        """Hand the engine's outputs to the replies; a step, or until these replies are complete."""
        replies = [self._replies[request_id] for request_id in ids]
        while not all(reply.finished for reply in replies):
            for output in self._service.engine.collect():
                self._add(output)
            if self._is_continuous:
                break

    def _add(self, output: Output) -> None:
        part = self._parts.get(output.request_id)
        reply = self._replies.get(output.request_id)
        if part is not None:
            part.later.append(output)
        elif reply is not None:
            reply.add(output)

    def begin_step(self) -> None:
        """Count anew what this step writes out."""
        self._tokens = 0

    def ignored_fields(self, request_id: str) -> str:
        """The value of that header, with a reply's first chunk: headers go out with it."""
        return "" if request_id in self._begun else self._replies[request_id].ignored_fields

    def next_chunk(self, request_id: str) -> Chunk:
        """What a reply sends in this step."""
        reply = self._replies[request_id]
        has_begun = request_id in self._begun
        is_by_grpc = request_id in self.by_grpc
        if not reply.finished and (is_by_grpc or self._may_stay_silent(request_id, reply)):
            return NO_CHUNK
        part = self._parts.get(request_id)
        if part is None:
            # A stream whose first chunk is its last is sent without headers: its end comes alone.
            begins_alone = reply.streams and not has_begun and not is_by_grpc
            is_last = reply.finished and not (begins_alone and self._is_continuous)
            take = reply.take_end if is_last else reply.take_chunk
            if self._is_too_long(reply, is_last=is_last):
                self._parts[request_id] = Part(self._workshop.start(take), is_last)
                return NO_CHUNK
            chunk = take()
        elif part.text.done():
            chunk, is_last = self._parts.pop(request_id).text.result(), part.is_last
            for output in part.later:
                reply.add(output)
        else:
            return NO_CHUNK
        if not is_last:
            self._begun.add(request_id)
            return chunk, False, reply.content_type
        self._forget(request_id)
        self._service.engine.cancel([request_id])  # after an error, others of it may still run
        self._metrics.record(reply)
        return chunk, True if has_begun or is_by_grpc else None, reply.content_type

    def _may_stay_silent(self, request_id: str, reply: PendingReply) -> bool:
        """Whether a whole reply that is not complete costs this step nothing."""
        if reply.streams or not (self._is_continuous and self._rows_can_wait):
            return False
        now = time.monotonic()
        if now - self._signs.setdefault(request_id, now) < SIGN_SECONDS:
            return True
        self._signs[request_id] = now
        return False

    def _is_too_long(self, reply: PendingReply, *, is_last: bool) -> bool:
        """Whether what is to be sent of a reply would hold up the step, after what was before."""
        has_workshop = self._is_continuous and self._rows_can_wait
        if not has_workshop or not (reply.streams or is_last):
            return False
        self._tokens += reply.tokens_waiting
        return self._tokens > MOST_TOKENS_AT_ONCE and reply.tokens_waiting > 1

    def _forget(self, request_id: str) -> None:
        del self._replies[request_id]
        self._begun.discard(request_id)
        self._signs.pop(request_id, None)
        self.by_grpc.discard(request_id)
        self._parts.pop(request_id, None)
