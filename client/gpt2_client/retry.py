"""Time-outs and retries: how long to wait, and when to try again. Knows no HTTP library."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

# The server has not begun.
RETRIED_STATUSES = frozenset({429, 503})
# A proxy's word that the server was lost: nobody knows how far it had come. Where a request changes
# nothing, that does not matter.
RETRIED_IF_HARMLESS = RETRIED_STATUSES | {502}


@dataclass(frozen=True)
class Timeout:
    """Seconds to connect, and the longest silence while a reply comes (streams too)."""

    connect: float = 5.0
    read: float = 120.0

    def __post_init__(self) -> None:
        if self.connect <= 0 or self.read <= 0:
            raise ValueError("time-outs must be above 0 seconds")


@dataclass(frozen=True)
class Retry:
    """A bounded back-off: at most `attempts` more tries, none later than `longest_wait` seconds."""

    attempts: int = 3
    first_wait: float = 0.25
    longest_wait: float = 30.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        if self.attempts < 0 or self.first_wait < 0 or self.longest_wait < 0:
            raise ValueError("retries and waits must not be negative")

    def wait(self, attempt: int, retry_after: float | None) -> float | None:
        """Seconds before try number `attempt` + 1 (from 0), or None when it is not worth it.

        A server that asks for more patience than `longest_wait` gets none: the caller gets
        the number at once, instead of being held.
        """
        if attempt >= self.attempts:
            return None
        if retry_after is not None:
            # A little later than asked, so that many clients asked the same do not come as one.
            spread = random.uniform(0, min(1.0, 0.1 * retry_after + 0.05))
            return retry_after + spread if retry_after <= self.longest_wait else None
        ceiling = min(self.longest_wait, self.first_wait * 2.0**attempt)
        return random.uniform(ceiling / 2, ceiling)


def seconds_of(retry_after: str | None, now: datetime | None = None) -> float | None:
    """Read a Retry-After header: seconds or an HTTP date. None when absent or unreadable."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):  # the former before Python 3.10
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - (now or datetime.now(timezone.utc))).total_seconds())
