"""Tells a person how far a long loop is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 10.0


def told(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Yield `items`, and every ten seconds print how many are done."""
    last = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - last > SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            print(f"  {what}: {done} of {len(items)} windows", flush=True)
        yield item
