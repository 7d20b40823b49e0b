"""HTTP by the byte: sends what no client library would, and takes apart what comes back."""

from __future__ import annotations

import contextlib
import socket

from soak.doors.wire import Reply as Reply
from soak.doors.wire import parse as parse
from tests.patience import PATIENCE

HOST = b"host: localhost\r\n"


def talk(port: int, sent: bytes, *, ends: bool = False) -> bytes:
    """Send bytes, and return all that comes back until the other side closes.

    With `ends` nothing more is said behind them, as `nc -N` does.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as made:
        with contextlib.suppress(ConnectionError):
            made.sendall(sent)
            if ends:
                made.shutdown(socket.SHUT_WR)
        received = b""
        with contextlib.suppress(ConnectionError):
            while piece := made.recv(65536):
                received += piece
        return received


def ask(port: int, sent: bytes, **options: object) -> list[Reply]:
    """Send bytes, and return the replies: all that comes back must be replies."""
    return parse(talk(port, sent, **options))  # type: ignore[arg-type]
