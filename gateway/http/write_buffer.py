"""Joins a reply's head with the body that follows at once into one write."""

from __future__ import annotations

import asyncio


class WriteBuffer:
    """What is written to a transport."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        # What was written and waits for what follows; None while nothing is to wait.
        self._held: bytes | None = None

    def hold(self) -> None:
        """Keep the next write until another follows, or this turn of the event loop ends."""
        if self._held is None:
            self._held = b""
            self._loop.call_soon(self.flush)

    def write(self, data: bytes) -> None:
        """Write, together with what is held."""
        if self._held is None:
            self._transport.write(data)
        elif self._held:
            held, self._held = self._held, None
            self._transport.write(held + data)
        else:
            self._held = data

    def flush(self) -> None:
        """Write what is held."""
        held, self._held = self._held, None
        if held:
            self._transport.write(held)
