"""Limits the bytes of request bodies that are held at once."""

from __future__ import annotations

from gateway.errors import Unavailable


class BodyBudget:
    """Bytes that the bodies of all requests together may take."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    def take(self, size: int) -> None:
        """Take `size` bytes of it.

        Raises:
            Unavailable: There are not so many left.
        """
        if self._taken + size > self._most:
            raise Unavailable(
                "Too many long requests are being read; try again in 1 s",
                code="full",
                retry_after=1,
            )
        self._taken += size

    def give_back(self, size: int) -> None:
        """Give `size` bytes back."""
        self._taken -= size
