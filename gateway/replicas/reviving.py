"""Has TorchServe start the next worker at once where one has ended."""

from __future__ import annotations

import asyncio
import logging

from gateway.replicas.changes import Changes
from gateway.replicas.loading import Loader
from gateway.replicas.replica import Replica, State
from gateway.torchserve.client import UpstreamError
from gateway.torchserve.retired import Retired

logger = logging.getLogger("gateway.replicas")


class Reviver:
    """Starts workers anew. TorchServe does it by itself too, but waits a second first."""

    def __init__(self, loader: Loader, changes: Changes, retired: Retired) -> None:
        self._loader = loader
        self._retired = retired
        self._changes = changes
        self._ended: asyncio.Queue[Replica] = asyncio.Queue()

    def note(self, replica: Replica) -> None:
        """Note that a replica's worker has just ended."""
        self._ended.put_nowait(replica)

    async def keep(self) -> None:
        """Have the next worker of every replica started whose worker ends, for ever."""
        # What a TorchServe that is gone left to do would end the new one's workers: their numbers
        # are the same.
        self._ended = asyncio.Queue()
        while True:
            replica = await self._ended.get()
            if replica.state is not State.LOST or self._changes.lock.locked():
                continue  # it is being removed, or something is loaded: TorchServe may wait then
            async with self._changes.lock:
                await self._revive(replica)

    async def _revive(self, replica: Replica) -> None:
        ended = replica.worker_id
        if not self._retired.add(ended):
            return
        try:
            await self._loader.restart(replica)
        except UpstreamError as error:
            self._retired.remove(ended)
            logger.info("%s: left to TorchServe: %s", replica.name, error.message)
