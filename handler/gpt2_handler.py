"""TorchServe's side: preprocess, inference, postprocess. The only file that knows TorchServe.

Continuous batching: every call brings all live requests, a new one with its body, one seen before
with its id alone, and every one gets a chunk back. A request that is missing has left.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

from handler.errors import BadRequest, EngineFailure, ModelError, RequestError
from handler.frames import read_ahead
from handler.metrics import RequestMetrics
from handler.replies import Reply, WholeReply, error_body, to_json
from handler.schema import parse_json
from handler.service import Service

logger = logging.getLogger(__name__)

COMPLETION_ROUTES = ("", "v1/completions")
FORMS = ("application/x-www-form-urlencoded", "multipart/")  # TorchServe takes them apart
REPLICA_MARK = "--"  # the gateway registers one archive as gpt2, gpt2--2, ...: one model to clients


class GPT2Handler:
    """The entry point that TorchServe calls from one thread; the only class it accepts here."""

    def __init__(self) -> None:
        self._live: dict[str, Reply] = {}
        self._begun: set[str] = set()

    def initialize(self, context: Any) -> None:
        """Load the archive; TorchServe calls the worker ready once a token was generated."""
        properties = context.system_properties
        model = context.manifest["model"]
        try:
            self._service = Service.load(
                Path(properties["model_dir"]),
                name=context.model_name.split(REPLICA_MARK)[0],
                version=str(model.get("modelVersion", "1.0")),
                config=context.model_yaml_config,
                max_tokens=_whole_number("N_TOKENS", 20),
                threads=_whole_number("ENGINE_THREADS", 0),
            )
        except ModelError as error:
            # TorchServe passes on what a worker says on stderr, and nothing of its tracebacks.
            print(f"The model can not be served: {error}", file=sys.stderr, flush=True)
            sys.exit(1)
        self._metrics = RequestMetrics(context.metrics, context.model_name)
        read_ahead()

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[str]:
        """One step: take in what is new, drop what has left, give everyone a chunk."""
        replies = self.preprocess(data, context)
        self.inference(replies)
        return self.postprocess(replies, context)

    def preprocess(self, data: list[dict[str, Any]], context: Any) -> list[WholeReply | str]:
        """Begin new requests. Returns for each its whole reply, or its id if it is live."""
        ids = [context.get_request_id(index) for index in range(len(data))]
        gone = self._live.keys() - set(ids)
        if gone:
            self._service.engine.cancel(gone)
            for request_id in gone:
                self._metrics.record(self._live[request_id])
                self._forget(request_id)
        replies: list[WholeReply | str] = []
        for index, (request_id, row) in enumerate(zip(ids, data, strict=True)):
            if request_id in self._live:
                replies.append(request_id)
            else:
                headers = context.get_all_request_header(index)
                replies.append(self._begin(request_id, row, headers))
        return replies

    def inference(self, replies: list[WholeReply | str]) -> None:
        """Hand the engine's outputs to the replies they belong to; waits for a step if need be."""
        live = [self._live[item] for item in replies if isinstance(item, str)]
        if not live or all(reply.finished for reply in live):
            return
        for output in self._service.engine.collect():
            reply = self._live.get(output.request_id)
            if reply is not None:
                reply.add(output)

    def postprocess(self, replies: list[WholeReply | str], context: Any) -> list[str]:
        """Turn replies into chunks, and say for each whether it goes on."""
        chunks: list[str] = []
        goes_on: dict[int, bool | None] = {}
        for index, item in enumerate(replies):
            if isinstance(item, str):
                chunk, is_last, content_type = self._next_chunk(item)
            else:
                chunk, is_last, content_type = item.body, None, item.content_type
                context.set_response_status(item.status, item.reason, index)
                if item.status == 429:
                    context.set_response_header(index, "Retry-After", "1")
            context.set_response_content_type(index, content_type)
            chunks.append(chunk)
            goes_on[index] = is_last
        context.stopping_criteria = [
            lambda _, is_last=goes_on[index]: is_last for index in range(len(replies))
        ]
        return chunks

    def _begin(
        self, request_id: str, row: dict[str, Any], headers: dict[str, Any]
    ) -> WholeReply | str:
        try:
            return self._route(request_id, row, headers)
        except RequestError as error:
            return WholeReply(to_json(error_body(error)), error.status, error.reason)
        except Exception:
            logger.exception("a request could not be begun")
            fault = RequestError("The request could not be served", code="internal_error")
            return WholeReply(to_json(error_body(fault)), fault.status, fault.reason)

    def _route(
        self, request_id: str, row: dict[str, Any], headers: dict[str, Any]
    ) -> WholeReply | str:
        lower = {str(name).lower(): value for name, value in headers.items()}
        body = next((row[name] for name in ("body", "data") if name in row), None)
        if isinstance(body, bytearray):
            body = bytes(body)
        route = str(lower.get("url_path") or "").strip("/")
        if body is None and not lower:
            # TorchServe put a request that it had begun back into its queue, without the body.
            raise EngineFailure("The request was lost; please send it again", code="lost_request")
        if route not in COMPLETION_ROUTES:
            return WholeReply(self._service.answer(route, b"" if body is None else body))
        reply = self._complete(request_id, body, str(lower.get("content-type") or ""))
        self._live[request_id] = reply
        return request_id

    def _complete(self, request_id: str, body: Any, content_type: str) -> Reply:
        if content_type.startswith(FORMS):
            raise BadRequest(
                "Send JSON with the header `Content-Type: application/json`, or a prompt alone "
                "with `text/plain`",
                code="unsupported_content_type",
            )
        is_text = content_type.startswith("text/") or not content_type
        if is_text and isinstance(body, (bytes, str)):
            return self._service.complete_text(request_id, _decode(body))
        return self._service.complete(request_id, parse_json(body))

    def _next_chunk(self, request_id: str) -> tuple[str, bool | None, str]:
        """The chunk of a live request, whether it is the last, and its content type."""
        reply = self._live[request_id]
        has_begun = request_id in self._begun
        # A stream whose first chunk is its last is sent without headers: its end comes alone.
        if not reply.finished or (reply.streams and not has_begun):
            self._begun.add(request_id)
            return reply.take_chunk(), False, reply.content_type
        self._forget(request_id)
        self._service.engine.cancel([request_id])  # after an error, others of it may still run
        self._metrics.record(reply)
        return reply.take_end(), True if has_begun else None, reply.content_type

    def _forget(self, request_id: str) -> None:
        del self._live[request_id]
        self._begun.discard(request_id)


def _decode(body: bytes | str) -> str:
    if isinstance(body, str):
        return body
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"The text is not UTF-8 at byte {error.start}", param="prompt", code="invalid_text"
        ) from None


def _whole_number(name: str, default: int) -> int:
    value = os.environ.get(name) or str(default)
    if not value.isdigit():
        raise ModelError(f"{name} must be a whole number, not {value!r}")
    return int(value)
