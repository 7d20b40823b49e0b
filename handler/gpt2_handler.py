"""TorchServe's side: preprocess, inference, postprocess. It and torchserve/ alone know TorchServe.

Continuous batching: every call brings all requests in flight, a new one with its body, one seen
before with its id alone, and every one gets a chunk back. A request that is missing has left.
Without it every call is a batch of its own, and is answered whole.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from handler.torchserve import requirements

with requirements.told():
    from handler.engine.container import give_back_freed_memory
    from handler.engine.errors import ModelError
    from handler.errors import (
        RequestError,
    )
    from handler.model_name import REPLICA_MARK
    from handler.replies import sideband
    from handler.replies.pending_reply import PendingReply
    from handler.replies.reply import WholeReply
    from handler.requests import ignored
    from handler.requests.prepare import MAX_LOGPROB_ENTRIES
    from handler.service import Service
    from handler.torchserve import envelopes, environment, only_worker, parameters
    from handler.torchserve.cache_gauge import CacheGauge
    from handler.torchserve.frames import read_ahead
    from handler.torchserve.grpc_calls import (
        came_by_grpc,
        let_rows_wait,
    )
    from handler.torchserve.in_flight import NO_CHUNK, InFlight
    from handler.torchserve.metrics import RequestMetrics
    from handler.torchserve.router import Router, describe, refusal
    from handler.workshop import Beginning, Workshop

logger = logging.getLogger(__name__)

# Bodies that are begun with within one step: 8 KiB of prose take 1.6 ms.
MOST_BYTES_AT_ONCE = 8192
# How long new requests may wait to be seen while there is only the workshop to wait for.
BUSY_SECONDS = 0.01


class GPT2Handler:
    """The entry point that TorchServe calls from one thread; the only class it accepts here."""

    def __init__(self) -> None:
        # Requests that the workshop judges.
        self._beginnings: dict[str, Beginning] = {}
        self._workshop = Workshop()

    def initialize(self, context: Any) -> None:
        """Load the archive; TorchServe calls the worker ready once a token was generated."""
        properties = context.system_properties
        version = str(context.manifest["model"].get("modelVersion", "1.0"))
        self._is_continuous = bool(context.model_yaml_config.get("continuousBatching"))
        try:
            if self._is_continuous:
                self._place = only_worker.claim(context.model_name, version)
            with requirements.told():
                self._service = Service.load(
                    Path(properties["model_dir"]),
                    name=context.model_name.split(REPLICA_MARK)[0],
                    version=version,
                    config=context.model_yaml_config,
                    max_tokens=environment.whole_number("N_TOKENS", 20),
                    overrides=environment.overrides(),
                    max_logprobs=environment.whole_number(
                        "MAX_LOGPROBS_PER_REQUEST", MAX_LOGPROB_ENTRIES
                    ),
                    strict_fields=environment.switch("STRICT_FIELDS"),
                    is_checked=not environment.switch("SKIP_SELF_TEST"),
                )
        except ModelError as error:
            # TorchServe passes on what a worker says on stderr, and nothing of its tracebacks.
            print(f"The model cannot be served: {error}", file=sys.stderr, flush=True)
            sys.exit(1)
        metrics = RequestMetrics(context.metrics, context.model_name)
        engine = self._service.engine
        CacheGauge(context.metrics, context.model_name, lambda: engine.cache_usage).start()
        self._rows_can_wait = let_rows_wait()
        self._has_workshop = self._is_continuous and self._rows_can_wait
        self._router = Router(
            self._service,
            os.environ.get(sideband.SECRET_VARIABLE, ""),
            is_continuous=self._is_continuous,
            rows_can_wait=self._rows_can_wait,
        )
        self._in_flight = InFlight(
            self._service,
            metrics,
            self._workshop,
            is_continuous=self._is_continuous,
            rows_can_wait=self._rows_can_wait,
        )
        read_ahead()
        parameters.keep_all()
        envelopes.take_off()
        gc.collect()
        gc.freeze()  # what is loaded stays: no collection in the midst of a step looks at it
        give_back_freed_memory()

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str | None]:
        """One step: take in what is new, drop what has left, give everyone a chunk.

        None is no chunk: such a row is left out of what TorchServe gets (`let_rows_wait`).
        """
        replies = self.preprocess(data, context)
        self.inference(replies)
        chunks = self.postprocess(replies, context)
        self._workshop.step()
        return chunks

    def preprocess(self, data: list[dict[str, Any]], context: Any) -> list[WholeReply | str | None]:
        """Begin new requests. Returns for each its whole reply, its id in flight, or None."""
        ids = [context.get_request_id(index) for index in range(len(data))]
        self._drop_all_but(set(ids))
        replies: list[WholeReply | str | None] = []
        room = MOST_BYTES_AT_ONCE
        for index, (request_id, row) in enumerate(zip(ids, data)):
            if request_id not in self._in_flight and request_id not in self._beginnings:
                headers = context.get_all_request_header(index)
                size = parameters.size_of(row)
                begin = partial(self._router.begin, request_id, row, headers)
                is_framed = sideband.HEADER in parameters.text_headers(headers)
                if came_by_grpc(headers):
                    self._in_flight.by_grpc.add(request_id)
                elif self._has_workshop and (size > room or parameters.may_ask_for_grammar(row)):
                    work = self._workshop.start(begin)
                    self._beginnings[request_id] = Beginning(work, is_framed)
                    replies.append(None)
                    continue
                room -= size
                replies.append(self._enter(request_id, begin(), is_framed=is_framed))
            elif request_id in self._in_flight:
                replies.append(request_id)
            else:
                replies.append(self._end_beginning(request_id))
        return replies

    def _end_beginning(self, request_id: str) -> WholeReply | str | None:
        """Go on with what the workshop has begun, if it is done with it."""
        if not self._beginnings[request_id].work.done():
            return None
        beginning = self._beginnings.pop(request_id)
        return self._enter(request_id, beginning.work.result(), is_framed=beginning.is_framed)

    def _drop_all_but(self, ids: set[str]) -> None:
        """Forget requests whose clients have left."""
        for request_id in self._beginnings.keys() - ids:
            self._beginnings.pop(request_id).work.cancel()
        self._in_flight.drop_all_but(ids)

    def _enter(
        self, request_id: str, begun: WholeReply | PendingReply | None, *, is_framed: bool
    ) -> WholeReply | str | None:
        """Have a request that was judged written: from now on its outputs may come."""
        if begun is None or isinstance(begun, WholeReply):
            return begun
        try:
            self._in_flight.submit(request_id, begun)
        except RequestError as error:
            return refusal(error, is_framed=is_framed)
        return request_id

    def inference(self, replies: list[WholeReply | str | None]) -> None:
        """Hand the engine's outputs to the replies they belong to; waits for a step if need be."""
        writing = self._in_flight.is_writing
        if all(item is None or (isinstance(item, str) and writing(item)) for item in replies):
            works = [begun.work for begun in self._beginnings.values()] + self._in_flight.works
            self._workshop.wait(works, BUSY_SECONDS)
        self._in_flight.wait(
            item for item in replies if isinstance(item, str) and not writing(item)
        )

    def postprocess(self, replies: list[WholeReply | str | None], context: Any) -> list[str | None]:
        """Turn replies into chunks, and say for each whether it goes on."""
        chunks: list[str | None] = []
        goes_on: dict[int, bool | None] = {}
        self._in_flight.begin_step()
        for index, item in enumerate(replies):
            chunk: str | None
            unknown = ""
            if item is None:
                chunk, is_last, content_type = NO_CHUNK
            elif isinstance(item, str):
                unknown = self._in_flight.ignored_fields(item)
                chunk, is_last, content_type = self._in_flight.next_chunk(item)
            else:
                chunk, content_type = item.body, item.content_type
                unknown = item.ignored_fields
                request_id = context.get_request_id(index)
                is_last = True if request_id in self._in_flight.by_grpc else None
                self._in_flight.by_grpc.discard(request_id)
                context.set_response_status(item.status, item.reason, index)
                if item.status == 429:
                    context.set_response_header(index, "Retry-After", "1")
            if unknown:
                context.set_response_header(index, ignored.HEADER, unknown)
            context.set_response_content_type(index, content_type)
            chunks.append(chunk)
            goes_on[index] = is_last
        context.stopping_criteria = [
            lambda _, is_last=goes_on[index]: is_last for index in range(len(replies))
        ]
        return chunks

    def describe_handle(self) -> str:
        """What is loaded, for a description with `customized=true`."""
        return describe(self._service)
