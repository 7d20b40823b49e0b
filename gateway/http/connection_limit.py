"""Limits open connections, and chooses which one gives way to another.

Where all are taken, the one that has been idle for longest gives way. A few are kept for the health
routes, so that a platform's probe finds out that the service is full, and not dead.
"""

from __future__ import annotations

from typing import Protocol

# Of few connections, at most this share is kept back.
LARGEST_RESERVE = 0.25


class Limited(Protocol):
    """A connection."""

    is_reserved: bool

    def give_way(self) -> None:
        """Close it for the sake of another."""


class ConnectionLimit:
    """Counts connections."""

    def __init__(self, most: int, reserve: int) -> None:
        reserve = min(reserve, int(most * LARGEST_RESERVE))
        self._open = _Slots(most - reserve)
        self._reserve = _Slots(reserve)

    def enter(self, connection: Limited) -> bool:
        """Let a connection in, if need be in place of another; return whether there was room."""
        for slots in (self._open, self._reserve):
            if slots.enter(connection):
                connection.is_reserved = slots is self._reserve
                return True
        return False

    def leave(self, connection: Limited) -> None:
        """Note that a connection has ended."""
        self._slots_of(connection).leave(connection)

    def waits(self, connection: Limited) -> None:
        """Note that it has no request any more, and may give way."""
        self._slots_of(connection).waits(connection)

    def works(self, connection: Limited) -> None:
        """Note that it has a request."""
        self._slots_of(connection).works(connection)

    def _slots_of(self, connection: Limited) -> _Slots:
        return self._reserve if connection.is_reserved else self._open


class _Slots:
    """Connections of one kind: those that all share, or those that are kept."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._members: set[Limited] = set()
        # Those without a request, the one that waits longest first.
        self._waiting: dict[Limited, None] = {}

    def enter(self, connection: Limited) -> bool:
        if len(self._members) >= self._size:
            longest = next(iter(self._waiting), None)
            if longest is None:
                return False
            self.leave(longest)
            longest.give_way()
        self._members.add(connection)
        self._waiting[connection] = None
        return True

    def leave(self, connection: Limited) -> None:
        self._members.discard(connection)
        self._waiting.pop(connection, None)

    def waits(self, connection: Limited) -> None:
        if connection in self._members:
            self._waiting[connection] = None

    def works(self, connection: Limited) -> None:
        self._waiting.pop(connection, None)
