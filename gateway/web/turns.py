"""Long work on the event loop (large JSON): one at a time, with everything else in between."""

from __future__ import annotations

import asyncio

# To read the JSON of less takes less than a millisecond.
LONG_BYTES = 64 << 10


class Turns:
    """A turn of the loop for each thing that is long; streams are passed on meanwhile."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def wait(self, size: int) -> None:
        """Wait until it is the turn of something of `size` bytes, to be done without a pause."""
        if size < LONG_BYTES:
            return
        async with self._lock:
            await asyncio.sleep(0)
