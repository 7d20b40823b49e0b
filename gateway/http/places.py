"""Who may hold a connection when many want to.

Where all are taken, who waits longest without a request gives way. A few are kept for the health
routes, so that a platform's probe finds out that the service is full, and not dead.
"""

from __future__ import annotations

from typing import Protocol

# Of few connections, at most this share is kept back.
LARGEST_RESERVE = 0.25


class Guest(Protocol):
    """A connection."""

    is_reserved: bool

    def give_way(self) -> None:
        """Close it for the sake of another."""


class Places:
    """Counts connections."""

    def __init__(self, most: int, reserve: int) -> None:
        reserve = min(reserve, int(most * LARGEST_RESERVE))
        self._open = _Room(most - reserve)
        self._reserve = _Room(reserve)

    def enter(self, guest: Guest) -> bool:
        """Give a new connection a place, if need be another's; tell whether there was one."""
        for room in (self._open, self._reserve):
            if room.enter(guest):
                guest.is_reserved = room is self._reserve
                return True
        return False

    def leave(self, guest: Guest) -> None:
        """Note that a connection has ended."""
        self._room_of(guest).leave(guest)

    def waits(self, guest: Guest) -> None:
        """Note that it has no request any more, and may give way."""
        self._room_of(guest).waits(guest)

    def works(self, guest: Guest) -> None:
        """Note that it has a request."""
        self._room_of(guest).works(guest)

    def _room_of(self, guest: Guest) -> _Room:
        return self._reserve if guest.is_reserved else self._open


class _Room:
    """Places of one kind."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._guests: set[Guest] = set()
        # Those without a request, the one that waits longest first.
        self._waiting: dict[Guest, None] = {}

    def enter(self, guest: Guest) -> bool:
        if len(self._guests) >= self._size:
            longest = next(iter(self._waiting), None)
            if longest is None:
                return False
            self.leave(longest)
            longest.give_way()
        self._guests.add(guest)
        self._waiting[guest] = None
        return True

    def leave(self, guest: Guest) -> None:
        self._guests.discard(guest)
        self._waiting.pop(guest, None)

    def waits(self, guest: Guest) -> None:
        if guest in self._guests:
            self._waiting[guest] = None

    def works(self, guest: Guest) -> None:
        self._waiting.pop(guest, None)
