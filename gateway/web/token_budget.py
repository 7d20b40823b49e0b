"""Tokens a minute and a day of each key, of prompts and completions together (KEY_LIMITS)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gateway.errors import TooManyRequests
from gateway.settings.key_limits import KeyLimits
from gateway.web.windows import Windows


class TokenBudget:
    """What each key may still use; counted when a request has ended: the last one may overdraw."""

    def __init__(self, limits: Mapping[str, KeyLimits], redis_url: str) -> None:
        self._items: dict[str, list[tuple[str, Any]]] = {}
        if not any(each.tokens_per_minute or each.tokens_per_day for each in limits.values()):
            return
        from limits import RateLimitItemPerDay, RateLimitItemPerMinute

        self._windows = Windows(redis_url, is_coarse=True)
        for name, each in limits.items():
            items = self._items[name] = []
            if each.tokens_per_minute:
                items.append(("minute", RateLimitItemPerMinute(each.tokens_per_minute)))
            if each.tokens_per_day:
                items.append(("day", RateLimitItemPerDay(each.tokens_per_day)))

    async def refuse_if_spent(self, key: str | None) -> None:
        """Judge whether a key has tokens left.

        Raises:
            TooManyRequests: It has none; says when there are some again.
        """
        for window, item in self._items.get(key or "", ()):
            left, reset = await self._windows.look(item, _name(key))
            if left <= 0:
                seconds = max(1, math.ceil(reset))
                raise TooManyRequests(
                    f"This key's {item.amount} tokens a {window} are used up; try again in "
                    f"{seconds} s",
                    code="token_budget",
                    retry_after=seconds,
                )

    async def left(self, key: str) -> dict[str, int]:
        """Return the tokens that a key has left in each window that is limited."""
        return {
            window: (await self._windows.look(item, _name(key)))[0]
            for window, item in self._items.get(key, ())
        }

    async def spend(self, key: str | None, tokens: int) -> None:
        """Count the tokens of a request that has ended."""
        for _, item in self._items.get(key or "", ()):
            if tokens > 0 and not await self._windows.hit(item, _name(key), tokens):
                left, _ = await self._windows.look(item, _name(key))
                if left > 0:
                    await self._windows.hit(item, _name(key), left)


def _name(key: str | None) -> str:
    return f"tokens of {key}"
