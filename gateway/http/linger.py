"""Closes a connection, but first lets its client end what it is writing."""

from __future__ import annotations

import asyncio

from gateway.http.timer import Timer


class Linger:
    """Reads on for a while behind a reply, and drops what comes.

    To close at once would reset the connection, and the reply be lost with it.
    """

    def __init__(self, transport: asyncio.Transport, timer: Timer) -> None:
        self._transport = transport
        self._timer = timer
        self._left = 0
        self.has_begun = False

    def begin(self, most: int, seconds: float) -> None:
        """Say no more, and take at most so many bytes, for at most so long."""
        self.has_begun = True
        self._left = most
        self._timer.start(seconds, self._transport.abort)
        self._transport.write_eof()

    def discard(self, size: int) -> None:
        """Drop bytes that came."""
        self._left -= size
        if self._left < 0:
            self._transport.abort()
