"""Turns TorchServe's whole replies and its errors into ours, with honest statuses."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from gateway.errors import KINDS, BadGateway, GatewayError, error_body
from gateway.proxy.prediction import JSON_TYPE
from gateway.proxy.replay import Lost
from gateway.proxy.reply import FAILED, Reply, note_end, note_usage
from gateway.web.fair_queue import FairQueue
from gateway.web.record import Record
from handler.replies import sideband

# When to come back where nothing says how long it takes.
RETRY_SECONDS = 2


class TooLargeForTorchServe(GatewayError):
    """The body passed our limit and not TorchServe's."""

    status = 413
    kind = "invalid_request_error"
    code = "body_too_large"


class Judge:
    """Judges what came back from TorchServe."""

    def __init__(self, queue: FairQueue) -> None:
        self._queue = queue

    def whole(self, record: Record, status: int, content_type: str, body: bytes) -> Reply:
        """Turn a whole reply into ours.

        Raises:
            Lost: The worker was lost before it began.
            GatewayError: It is an error of TorchServe itself.
        """
        if content_type.endswith(sideband.SUFFIX):
            frame, body = sideband.opened(body)
            note_end(record, frame)
            content_type = content_type.removesuffix(sideband.SUFFIX)
            if record.error is None:
                return Reply(status, body, content_type, frame=frame)
            content_type = JSON_TYPE  # its own went out before it failed
        reply = Reply(status, body, content_type)
        value = reply.json()
        if isinstance(value, dict) and isinstance(value.get("error"), dict):
            return self._error(record, reply, value["error"])
        if reply.status >= 400:
            raise self._torchserve_error(reply.status, value)
        if isinstance(value, dict) and isinstance(value.get("usage"), dict):
            reasons = [choice.get("finish_reason") for choice in value.get("choices", [])]
            note_usage(record, value["usage"], reasons)
        return reply

    def first_event(self, record: Record, event: bytes) -> Reply:
        """Turn a stream's first event, an error, into a reply: the stream has not begun."""
        line = event.split(b"\n", 1)[0].removeprefix(b"data: ")
        with contextlib.suppress(ValueError):
            return self._error(record, Reply(200, line, JSON_TYPE), json.loads(line)["error"])
        body = error_body("The worker failed", "server_error", None, None)
        return Reply(503, body, JSON_TYPE)

    def _error(self, record: Record, reply: Reply, error: dict[str, Any]) -> Reply:
        if reply.status < 400:
            reply.status = KINDS.get(str(error.get("type")), 503)
        record.error = str(error.get("code") or error.get("type"))
        if reply.status >= 500:
            record.failed = FAILED
        if reply.status == 429:
            seconds = self._queue.retry_after(1)
            reply.headers.append((b"retry-after", str(seconds).encode()))
        elif reply.status == 503:
            reply.headers.append((b"retry-after", str(RETRY_SECONDS).encode()))
        return reply

    def _torchserve_error(self, status: int, value: Any) -> Exception:
        """Return what TorchServe itself said, in our words."""
        message = str(value.get("message", "")) if isinstance(value, dict) else ""
        if status == 503 and "no worker" in message:
            return self._queue.full()
        if status in (500, 503):  # "Worker died.", or one that is being started anew
            return Lost()
        if status == 413:
            return TooLargeForTorchServe("The body is too long for TorchServe")
        return BadGateway("TorchServe refused the request", code="bad_gateway")
