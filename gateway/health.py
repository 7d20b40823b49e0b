"""Alive and ready. Ready asks for no prediction: a full queue is not unready."""

from __future__ import annotations

import json

from gateway.exchange import Exchange
from gateway.replicas import Replicas


class Health:
    """What the service says of itself."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas
        self.is_draining = False
        # Whether TorchServe runs and its models are known.
        self.is_serving = False

    @property
    def is_ready(self) -> bool:
        """Whether a request would be served now."""
        if not self.is_serving or self.is_draining:
            return False
        return self._replicas.was_ready and self._replicas.is_ready()

    async def live(self, exchange: Exchange) -> None:
        """Answer `/health/live`: this process works."""
        await exchange.reply(200, b'{"status": "alive"}')

    async def ready(self, exchange: Exchange) -> None:
        """Answer `/health/ready`: 200 if a worker has generated a token and takes requests."""
        if self.is_ready:
            await exchange.reply(200, b'{"status": "ready"}')
            return
        status = "draining" if self.is_draining else "starting"
        headers = [(b"retry-after", b"2")]
        await exchange.reply(503, json.dumps({"status": status}).encode(), headers=headers)

    async def liveness(self, exchange: Exchange) -> None:
        """Answer `/health_liveness`, the old name of alive."""
        await exchange.reply(200, b'{"status": "success"}')
