"""What came back: a whole reply, and what log and metrics keep of it or of a stream's end."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from gateway.exchange import Exchange, Header

USAGE = re.compile(rb"^: usage (\{.*\})$", re.MULTILINE)
ERROR_EVENT = re.compile(rb'^data: (\{"error":.*)$', re.MULTILINE)
# What the metrics call a text that failed in the handler.
FAILED = "handler_error"


@dataclass(slots=True)
class Reply:
    """A whole reply, ready to be sent."""

    status: int
    body: bytes
    content_type: str
    headers: list[Header] = field(default_factory=list)

    async def send(self, exchange: Exchange) -> None:
        """Answer with it."""
        await exchange.reply(self.status, self.body, self.content_type, self.headers)

    def json(self) -> Any:
        """The body as JSON, or None."""
        if not self.content_type.startswith("application/json"):
            return None
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def note_usage(exchange: Exchange, usage: dict[str, Any], reasons: list[str | None]) -> None:
    """Keep the counts of a finished request for its log line and the metrics."""
    facts = exchange.facts
    facts["prompt_tokens"] = int(usage.get("prompt_tokens", 0))
    facts["completion_tokens"] = int(usage.get("completion_tokens", 0))
    facts["cached_tokens"] = int((usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0))
    facts["finish_reasons"] = [str(reason) for reason in reasons if reason]


def note_stream_end(exchange: Exchange, ending: bytes) -> None:
    """Read the usage comment of a stream's last pieces, and whether the handler gave up."""
    found = USAGE.search(ending)
    if found:
        with contextlib.suppress(ValueError):
            usage = json.loads(found[1])
            note_usage(exchange, usage, usage.get("finish_reasons", []))
    failed = ERROR_EVENT.search(ending)
    if failed:
        exchange.facts["failed"] = FAILED
        with contextlib.suppress(ValueError, AttributeError):
            exchange.facts["error"] = json.loads(failed[1])["error"].get("code")
