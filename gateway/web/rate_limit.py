"""Requests a minute of each caller, counted here or in a Redis that instances share."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import Any

from gateway.errors import TooManyRequests

logger = logging.getLogger("gateway.limits")

# A Redis that does not answer in this time is treated as lost.
REDIS_SECONDS = 0.5
REDIS_RETRY_SECONDS = 5.0


class RateLimit:
    """Requests a minute of each caller, in memory or (for several instances) in Redis.

    While Redis cannot be reached each instance counts by itself.
    """

    def __init__(self, per_minute: int, redis_url: str) -> None:
        self.per_minute = per_minute
        self._redis_url = redis_url
        self._redis_lost_at = -math.inf
        self._memory: Any = None
        self._redis: Any = None
        if not per_minute:
            return
        from limits import RateLimitItemPerMinute
        from limits.aio.storage import MemoryStorage
        from limits.aio.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

        self._item = RateLimitItemPerMinute(per_minute)
        self._memory = MovingWindowRateLimiter(MemoryStorage())
        if redis_url:
            from limits.aio.storage import RedisStorage

            uri = redis_url if redis_url.startswith("async+") else f"async+{redis_url}"
            storage = RedisStorage(uri, implementation="redispy")
            self._redis = SlidingWindowCounterRateLimiter(storage)

    async def hit(self, caller: str) -> None:
        """Count one request of `caller`.

        Raises:
            TooManyRequests: It was one too many.
        """
        if not self.per_minute:
            return
        allowed, reset = await self._count(caller)
        if not allowed:
            seconds = max(1, math.ceil(reset - time.time()))
            raise TooManyRequests(
                f"At most {self.per_minute} requests a minute; try again in {seconds} s",
                retry_after=min(seconds, 60),
            )

    async def _count(self, caller: str) -> tuple[bool, float]:
        now = time.monotonic()
        if self._redis is not None and now - self._redis_lost_at > REDIS_RETRY_SECONDS:
            try:
                async with asyncio.timeout(REDIS_SECONDS):
                    return await self._ask(self._redis, caller)
            except Exception as error:
                self._redis_lost_at = now
                logger.warning(
                    "Redis does not answer (%s); counting here alone for %g s",
                    type(error).__name__,
                    REDIS_RETRY_SECONDS,
                )
        return await self._ask(self._memory, caller)

    async def _ask(self, limiter: Any, caller: str) -> tuple[bool, float]:
        if await limiter.hit(self._item, "gpt2", caller):
            return True, 0.0
        window = await limiter.get_window_stats(self._item, "gpt2", caller)
        return False, float(window.reset_time)
