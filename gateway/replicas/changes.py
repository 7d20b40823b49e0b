"""A lock and two signals, shared by everything that watches or changes replicas."""

from __future__ import annotations

import asyncio


class Changes:
    """One change of replicas at a time, and who is woken by it."""

    def __init__(self) -> None:
        # Held by whoever changes what is loaded.
        self.lock = asyncio.Lock()
        # Something changed for those that wait for a replica.
        self.news = asyncio.Event()
        # The monitor is to look at once.
        self.hurry = asyncio.Event()
