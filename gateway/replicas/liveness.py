"""Tells a slow reply from one that has stalled.

A whole reply sends no byte before its end, and a stream none while it waits for a slot. So a worker
that has been silent is asked something that costs nothing: its answer comes with the next step of
all its sequences, and is a sign of life for each of them.
"""

from __future__ import annotations

import asyncio
import time

from gateway.replicas.registry import Registry
from gateway.replicas.replica import Replica
from gateway.torchserve.client import Upstream

# Looked so many times within STALL_SECONDS.
LOOKS = 4
# A handler that has no deadline of its own.
NO_DEADLINE = 0.0


class Liveness:
    """Asks the workers of replicas that serve something and have nothing to show yet."""

    def __init__(self, upstream: Upstream, registry: Registry, stall_seconds: float) -> None:
        self._upstream = upstream
        self._registry = registry
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
            limits = (self._registry.card(replica.model, replica.version) or {}).get("limits", {})
            # The handler ends every sequence by then: who is silent for longer was lost on the way.
            deadline = time.perf_counter() - float(limits.get("deadline_seconds", NO_DEADLINE))
            waiting = [
                request
                for request in replica.requests
                if not request.has_flowed and request.entered_at > deadline
            ]
            if not any(request.is_stalled(self._pause / 2) for request in waiting):
                continue
            # A full batch takes no question; that each of its sequences is lost is unlikely.
            capacity = limits.get("slots", 0) + limits.get("waiting", 0)
            is_full = len(replica.requests) >= capacity
            if is_full or await self._answers(replica):
                for request in waiting:
                    request.hear()

    async def _answers(self, replica: Replica) -> bool:
        path = "v1/models"
        return await self._upstream.ask(replica.name, replica.version, path) is not None
