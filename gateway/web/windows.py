"""Counts in windows of time, here or in a Redis that instances share; alone while that is away."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

logger = logging.getLogger("gateway.limits")

# A Redis that does not answer in this time is treated as lost.
REDIS_SECONDS = 0.5
REDIS_RETRY_SECONDS = 5.0
MOST_SAID = 200  # letters of what Redis says against it
NAMESPACE = "gpt2"

Result = TypeVar("Result")


class Windows:
    """Limits of the `limits` package: an `item` is an amount and a window.

    In memory a minute slides exactly, or (`is_coarse`) as Redis has it, by two counts: an amount
    is one entry then, however large.
    """

    def __init__(self, redis_url: str, *, is_coarse: bool = False) -> None:
        from limits.aio.storage import MemoryStorage
        from limits.aio.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

        kind = SlidingWindowCounterRateLimiter if is_coarse else MovingWindowRateLimiter
        self._memory: Any = kind(MemoryStorage())
        self._redis: Any = None
        self._redis_lost_at = -math.inf
        if redis_url:
            from limits.aio.storage import RedisStorage

            uri = redis_url if redis_url.startswith("async+") else f"async+{redis_url}"
            storage = RedisStorage(uri, implementation="redispy")
            self._redis = SlidingWindowCounterRateLimiter(storage)

    async def hit(self, item: Any, caller: str, cost: int = 1) -> bool:
        """Count `cost` if that is still allowed; return whether it was."""
        return await self._ask(lambda limiter: limiter.hit(item, NAMESPACE, caller, cost=cost))

    async def look(self, item: Any, caller: str) -> tuple[int, float]:
        """Return what is left of a window, and in how many seconds there is more."""
        stats = await self._ask(lambda limiter: limiter.get_window_stats(item, NAMESPACE, caller))
        return int(stats.remaining), float(stats.reset_time) - time.time()

    async def _ask(self, question: Callable[[Any], Awaitable[Result]]) -> Result:
        now = time.monotonic()
        if self._redis is not None and now - self._redis_lost_at > REDIS_RETRY_SECONDS:
            try:
                async with asyncio.timeout(REDIS_SECONDS):
                    return await question(self._redis)
            except Exception as error:
                self._redis_lost_at = now
                logger.warning(
                    "Redis does not count (%s); counting locally for %g s",
                    f"{type(error).__name__}: {error}"[:MOST_SAID].rstrip(": "),
                    REDIS_RETRY_SECONDS,
                )
        return await question(self._memory)
