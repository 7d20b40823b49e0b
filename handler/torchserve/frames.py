"""Reads TorchServe's messages in few system calls: all that has come at once, not number by number.

TorchServe's protocol asks the socket for each number and each word, four times for every request
in flight in every step. Each time Python's lock is let go, and has to be had back from the engine's
thread: at 32 streams a third of what a worker's own thread computes, and waits besides.
"""

from __future__ import annotations

import importlib
import socket
import sys

PROTOCOL = "ts.protocol.otf_message_handler"
AT_ONCE = 1 << 16  # bytes


class FrameReader:
    """What came from one socket and was not asked for yet."""

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def __call__(self, connection: socket.socket, length: int) -> bytes:
        """Take the next `length` bytes; waits for them.

        Raises:
            SystemExit: The other side is gone; so ends TorchServe's own function, and the worker.
        """
        end = self._at + length
        if end > len(self._bytes):
            parts = [self._bytes[self._at :]]
            missing = end - len(self._bytes)
            while missing > 0:
                part = connection.recv(max(missing, AT_ONCE))
                if not part:
                    sys.exit(0)
                parts.append(part)
                missing -= len(part)
            self._bytes, self._at, end = b"".join(parts), 0, length
        taken = self._bytes[self._at : end]
        self._at = end
        return taken


def read_ahead() -> None:
    """Let this worker's protocol read so. A TorchServe that is built otherwise stays as it is."""
    protocol = importlib.import_module(PROTOCOL)
    if hasattr(protocol, "_retrieve_buffer"):
        protocol._retrieve_buffer = FrameReader()  # type: ignore[attr-defined]
