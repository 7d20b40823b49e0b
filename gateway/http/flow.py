"""Flow control: how much of a connection is buffered while its reader or sender is slow."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from uvicorn.protocols.http.flow_control import FlowControl


class Flow(FlowControl):
    """Has what comes wait in the kernel while enough of it is held here."""

    def __init__(self, transport: asyncio.Transport, holds_enough: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._holds_enough = holds_enough

    def resume_reading(self) -> None:
        """Read on, if there is room."""
        if not self._holds_enough():
            super().resume_reading()


def bound_idle_reader(transport: asyncio.Transport, seconds: float) -> None:
    """Have the kernel end a connection whose reader takes nothing for so long (Linux)."""
    connection = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if connection is not None and option is not None:
        connection.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))
