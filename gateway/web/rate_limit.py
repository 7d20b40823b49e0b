"""Requests a minute of each caller."""

from __future__ import annotations

import math

from gateway.errors import TooManyRequests
from gateway.web.windows import Windows


class RateLimit:
    """Requests a minute of each caller, in memory or (for several instances) in Redis."""

    def __init__(self, per_minute: int, redis_url: str) -> None:
        self.per_minute = per_minute
        if not per_minute:
            return
        from limits import RateLimitItemPerMinute

        self._item = RateLimitItemPerMinute(per_minute)
        self._windows = Windows(redis_url)

    async def hit(self, caller: str) -> None:
        """Count one request of `caller`.

        Raises:
            TooManyRequests: It was one too many.
        """
        if not self.per_minute or await self._windows.hit(self._item, caller):
            return
        _, reset = await self._windows.look(self._item, caller)
        seconds = max(1, math.ceil(reset))
        raise TooManyRequests(
            f"At most {self.per_minute} requests a minute; try again in {seconds} s",
            retry_after=min(seconds, 60),
        )
