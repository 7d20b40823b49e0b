"""How much is let in: requests a minute, and sequences that run and wait. Knows no HTTP."""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from gateway.errors import BadRequest, TooManyRequests, Unavailable

logger = logging.getLogger("gateway.limits")

# A Redis that does not answer in this time is treated as lost.
REDIS_SECONDS = 0.5
REDIS_RETRY_SECONDS = 5.0


class RateLimit:
    """Requests a minute of each caller, in memory or (for several instances) in Redis.

    While Redis can not be reached each instance counts by itself.
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


class Budget:
    """Bytes that all requests together may hold."""

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


class Admission:
    """Counts live sequences, and refuses more than may run and wait.

    A request that writes nothing counts as one where live ones are counted.
    """

    # Only this stretch of the past says how fast sequences end.
    WINDOW_SECONDS = 30.0

    def __init__(self, max_waiting: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_waiting = max_waiting
        self.live = 0
        self._clock = clock
        self._ended: deque[tuple[float, int]] = deque()

    def enter(self, sequences: int, capacity: int, most_at_once: int = sys.maxsize) -> None:
        """Let `sequences` in where at most `capacity` run at once.

        `most_at_once` is what one request may have, since it goes to one replica.

        Raises:
            TooManyRequests: Too many would wait; says when to come back.
            BadRequest: So many could never be let in.
        """
        most = capacity + self.max_waiting
        if sequences > min(most, most_at_once):
            raise BadRequest(
                "The request asks for too many texts at once (prompts x `n` or `best_of`); "
                f"at most {min(most, most_at_once)} are allowed",
                param="n",
                code="too_many_texts",
            )
        if self.live + sequences > max(capacity, most):
            seconds = self.retry_after(self.live + sequences - most)
            raise TooManyRequests(
                f"The service is full; try again in {seconds} s", code="full", retry_after=seconds
            )
        self.live += max(1, sequences)

    def leave(self, sequences: int) -> None:
        """Note that `sequences` ended, however they did."""
        self.live -= max(1, sequences)
        if not sequences:
            return
        now = self._clock()
        self._ended.append((now, sequences))
        while self._ended[0][0] < now - self.WINDOW_SECONDS:
            self._ended.popleft()

    def retry_after(self, sequences: int) -> int:
        """Return the seconds in which `sequences` will end, at the speed of late (1 to 60)."""
        now = self._clock()
        recent = [(at, count) for at, count in self._ended if at > now - self.WINDOW_SECONDS]
        if not recent:
            return 5
        span = max(1.0, now - recent[0][0])
        rate = sum(count for _, count in recent) / span
        return min(60, max(1, math.ceil(sequences / rate)))
