"""Tells a slow reply from one that stands still.

A whole reply sends no byte before its end, and a stream none while it waits for a slot. So a worker
that has been silent is asked something that costs nothing: its answer comes with the next step of
all its texts, and is a sign of life for each of them.
"""

from __future__ import annotations

import asyncio
import time

from gateway.replicas.replica import Replica
from gateway.replicas.replicas import Replicas
from gateway.torchserve.client import Upstream

# Looked so many times within STALL_SECONDS.
LOOKS = 4
# A handler that has no deadline of its own.
NO_DEADLINE = 0.0


class Pulse:
    """Asks the workers of replicas that serve something and have nothing to show yet."""

    def __init__(self, upstream: Upstream, replicas: Replicas, stall_seconds: float) -> None:
        self._upstream = upstream
        self._replicas = replicas
        self._pause = stall_seconds / LOOKS
        self._following: dict[Replica, asyncio.Task[None]] = {}

    def follow(self, replica: Replica) -> None:
        """Look after a replica for as long as it serves something."""
        if replica not in self._following:
            task = asyncio.create_task(self._follow(replica))
            self._following[replica] = task
            task.add_done_callback(lambda _: self._following.pop(replica, None))

    async def _follow(self, replica: Replica) -> None:
        while replica.requests:
            await asyncio.sleep(self._pause)
            limits = (self._replicas.card(replica.model, replica.version) or {}).get("limits", {})
            # The handler ends every text by then: who is silent for longer was lost on the way.
            deadline = time.perf_counter() - float(limits.get("deadline_seconds", NO_DEADLINE))
            waiting = [
                live
                for live in replica.requests
                if not live.has_flowed and live.entered_at > deadline
            ]
            if not any(live.is_stalled(self._pause / 2) for live in waiting):
                continue
            # A full batch takes no question; that each of its texts is lost is not to be believed.
            places = limits.get("slots", 0) + limits.get("waiting", 0)
            is_full = len(replica.requests) >= places
            if is_full or await self._answers(replica):
                for live in waiting:
                    live.hear()

    async def _answers(self, replica: Replica) -> bool:
        path = "v1/models"
        return await self._upstream.ask(replica.name, replica.version, path) is not None
