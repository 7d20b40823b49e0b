"""A whole reply, and what the record of a request keeps of it or of a stream's end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import error_detail, for_clients, last_events, to_json
from gateway.web.exchange import Exchange, Header
from gateway.web.metrics import Metrics
from gateway.web.record import EngineTimes, Record, Usage
from handler.errors import OF_REQUEST
from handler.requests import ignored

# What the metrics call a generation that failed in the handler.
FAILED = "handler_error"


@dataclass(slots=True)
class Reply:
    """A whole reply, ready to be sent."""

    status: int
    body: bytes
    content_type: str
    headers: list[Header] = field(default_factory=list)
    # What the handler says of it beside.
    frame: bytes = b""

    async def send(self, exchange: Exchange) -> None:
        """Answer with it."""
        body, error = self.body, self.json() if self.status >= 400 else None
        if isinstance(error, dict) and isinstance(error.get("error"), dict):
            body = to_json(for_clients(exchange.clients, self.status, error))
        await exchange.reply(self.status, body, self.content_type, self.headers)

    def json(self) -> Any:
        """The body as JSON, or None."""
        if not self.content_type.startswith("application/json"):
            return None
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def note_usage(record: Record, usage: dict[str, Any], reasons: list[str | None]) -> None:
    """Keep the counts of a finished request for its log line and the metrics."""
    record.usage = Usage(
        prompt_tokens=int(usage.get("prompt_tokens", 0)),
        completion_tokens=int(usage.get("completion_tokens", 0)),
        cached_tokens=int((usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)),
        finish_reasons=[str(reason) for reason in reasons if reason],
    )


def note_end(record: Record, frame: bytes) -> None:
    """Read usage and times from a reply's last frame, and whether the handler gave up.

    A stream that was cut has no such frame, one of another kind of model none at all.
    """
    last = json.loads(frame) if frame else {}
    if "usage" in last:
        note_usage(record, last["usage"], last["finish_reasons"])
        if "timings" in last:
            record.times = EngineTimes(**last["timings"])
        if last["error"] is not None:
            record.error = last["error"]
            record.failed = None if record.error in OF_REQUEST else FAILED


async def end_stream(exchange: Exchange, error: Any) -> None:
    """End a stream that was begun before its first token came, with an error of OpenAI's shape."""
    if not isinstance(error, dict) or not isinstance(error.get("error"), dict):
        error = error_detail("The worker failed", "server_error", None, None)
    await exchange.start_stream()
    await exchange.end(last_events(error, exchange.clients))


def seed_in(frame: bytes) -> int | None:
    """The seed that the handler's frame tells."""
    seed: int | None = json.loads(frame).get("seed") if frame else None
    return seed


def note_origin(exchange: Exchange, card: dict[str, Any], seed: int | None) -> None:
    """Report what a reply follows from: its model's digest and its seed.

    With both, any instance generates it again. On torch it depends on its neighbours: no digest.
    """
    digest = card.get("content_sha256")
    if digest and card.get("engine") != "torch":
        exchange.reply_headers.append((b"x-model-digest", str(digest).encode()))
    if seed is not None:
        exchange.reply_headers.append((b"x-seed", str(seed).encode()))


def note_ignored_fields(exchange: Exchange, names: str, metrics: Metrics) -> None:
    """Report which fields of a request were ignored: in a header, in the log, and as a count."""
    if names:
        exchange.record.ignored_fields = names
        exchange.reply_headers.append((ignored.HEADER.encode(), names.encode()))
        metrics.fields_ignored()
