"""The last requests that went wrong, for who looks after the service. Never a prompt or a key."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from gateway.web.exchange import Exchange
from gateway.web.logs import PROBE_PATHS

MOST = 50
# How a request can end that is the client's own doing.
CLIENT_GONE = "client_gone"
TOO_MANY = 429


class RecentErrors:
    """Remembers requests that the service failed or refused for want of room."""

    def __init__(self) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=MOST)

    def note(self, exchange: Exchange) -> None:
        """Remember a request that has ended, if it went wrong."""
        record = exchange.record
        cut = record.failed or record.aborted
        went_wrong = exchange.status >= 500 or exchange.status == TOO_MANY
        if exchange.path.startswith(PROBE_PATHS) or not (went_wrong or cut):
            return
        if cut == CLIENT_GONE:
            return
        entry = {
            "time": time.time(),
            "route": record.route,
            "status": exchange.status,
            "error": cut or record.error,
            "key": record.key,
            "model": record.model,
            "replica": record.replica,
            "request_id": exchange.request_id,
        }
        self._entries.appendleft({name: value for name, value in entry.items() if value})

    def newest(self) -> list[dict[str, Any]]:
        """Return what is remembered, the newest first."""
        return list(self._entries)
