"""Log lines: one a request and a few of the service itself; no prompt is ever in them.

JSON in Cloud Logging's shape on Cloud Run, a readable line elsewhere.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any, TextIO

from gateway.web.exchange import Exchange

PROBE_PATHS = ("/health", "/ping", "/v2/health")
SILENT_PATHS = ("/metrics", "/page/", "/status")
SEVERITIES = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}


class JsonFormatter(logging.Formatter):
    """A record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "severity": SEVERITIES.get(record.levelno, "DEFAULT"),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "message": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info:
            line["stack"] = self.formatException(record.exc_info)
        line.update(getattr(record, "fields", {}))
        return json.dumps(line, default=str)  # ASCII: whatever stderr's charset is, it is JSON


class TextFormatter(logging.Formatter):
    """A record for a person."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        line = f"{clock} {level}{_printable(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _printable(text: str) -> str:
    """Escape what would begin a line of its own, or steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class RequestLog:
    """Writes one line for each request."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._logger = logging.getLogger("gateway.requests")

    def write(self, exchange: Exchange) -> None:
        """Log a request that has ended."""
        status = exchange.status or 499  # the client left before there was a reply
        is_probe = exchange.path.startswith(PROBE_PATHS)  # a service that is starting is no error
        if is_probe or (status < 400 and exchange.path.startswith(SILENT_PATHS)):
            return
        seconds = time.perf_counter() - exchange.began
        level = logging.ERROR if status >= 500 else logging.INFO
        noted = exchange.record.as_log_fields()
        message = f"{exchange.method} {exchange.path[:200]} {status} {seconds * 1000:.0f} ms"
        if "completion_tokens" in noted:
            message += f", {noted['completion_tokens']} tokens"
        for word in ("ttft_ms", "ignored_fields", "error", "aborted"):
            if word in noted:
                message += f", {word} {noted[word]}"
        line = self._fields(exchange, status, seconds, noted)
        self._logger.log(level, message, extra={"fields": line})

    def _fields(
        self, exchange: Exchange, status: int, seconds: float, noted: dict[str, Any]
    ) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "httpRequest": {
                "requestMethod": exchange.method,
                "requestUrl": exchange.path[:200],
                "status": status,
                "responseSize": str(exchange.bytes_sent),
                "latency": f"{seconds:.6f}s",
                "remoteIp": exchange.record.client or exchange.peer,
            },
            "request_id": exchange.request_id,
            **noted,
        }
        if exchange.trace and self._project:
            fields["logging.googleapis.com/trace"] = (
                f"projects/{self._project}/traces/{exchange.trace}"
            )
            fields["logging.googleapis.com/spanId"] = exchange.span
            fields["logging.googleapis.com/trace_sampled"] = exchange.is_sampled
        elif exchange.trace:
            fields["trace"] = exchange.trace
        return fields


def configure(as_json: bool, stream: TextIO | None = None) -> None:
    """Send every log line to standard error in one shape."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("gateway").setLevel(logging.INFO)
    # Its lines on bad requests would repeat ours, once a bad request.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
