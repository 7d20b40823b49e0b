"""Finds out which client has only closed its side and which has left: TCP shows both alike."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

# Most answers that take no longer are sent before anybody is asked.
GRACE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 1.0
INTERIM_REPLY = b"HTTP/1.1 100 Continue\r\n\r\n"
TCP_CLOSE = 7


async def end_if_left(transport: asyncio.Transport, waits: Callable[[], bool]) -> None:
    """Close the connection of a client that has left while it still `waits` for its reply.

    It is sent an interim reply, which any client of HTTP/1.1 passes over: the machine of one that
    has left answers with a reset.
    """
    pause = GRACE_SECONDS
    await asyncio.sleep(pause)
    if waits():
        transport.write(INTERIM_REPLY)
    while waits():
        if _is_reset(transport):
            transport.abort()
            return
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _is_reset(transport: asyncio.Transport) -> bool:
    made = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_INFO", None)
    if made is None or option is None:
        return True  # unknown: rather lose a reply than a slot
    return bool(made.getsockopt(socket.IPPROTO_TCP, option, 1)[0] == TCP_CLOSE)
