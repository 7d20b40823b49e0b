"""Alive and ready. Ready asks for no prediction: a full queue is not unready."""

from __future__ import annotations

import json
from collections.abc import Callable

from gateway import __version__
from gateway.replicas.replicas import Replicas
from gateway.web.exchange import Exchange


class Health:
    """What the service says of itself."""

    def __init__(self, replicas: Replicas) -> None:
        self._replicas = replicas
        self._is_draining = False
        self._on_drain: list[Callable[[], None]] = []
        # Whether TorchServe runs and its models are known.
        self.is_serving = False

    @property
    def is_draining(self) -> bool:
        """Whether the service shuts down."""
        return self._is_draining

    @is_draining.setter
    def is_draining(self, is_so: bool) -> None:
        self._is_draining = is_so
        if is_so:
            for act in self._on_drain:
                act()

    def on_drain(self, act: Callable[[], None]) -> None:
        """Call `act` when the service begins to shut down."""
        self._on_drain.append(act)

    @property
    def is_open(self) -> bool:
        """Whether TorchServe runs, and new requests are taken."""
        return self.is_serving and not self.is_draining

    @property
    def is_ready(self) -> bool:
        """Whether a request would be served now."""
        if not self.is_open:
            return False
        return self._replicas.monitor.was_ready and self._replicas.registry.is_ready()

    async def live(self, exchange: Exchange) -> None:
        """Answer `/health/live`: this process works."""
        await exchange.reply(200, b'{"status": "alive"}')

    async def ready(self, exchange: Exchange) -> None:
        """Answer `/health/ready`: 200 if a worker has generated a token and takes requests."""
        if self.is_ready:
            await exchange.reply(200, b'{"status": "ready"}')
            return
        headers = [(b"retry-after", b"2")]
        await exchange.reply(503, json.dumps({"status": self._state()}).encode(), headers=headers)

    async def health(self, exchange: Exchange) -> None:
        """Answer `/health` as vLLM does: ready means a 200 without a body."""
        if self.is_ready:
            await exchange.reply(200, b"")
        else:
            await self.ready(exchange)

    async def version(self, exchange: Exchange) -> None:
        """Answer `/version`."""
        await exchange.reply(200, json.dumps({"version": __version__}).encode())

    async def ping(self, exchange: Exchange) -> None:
        """Answer TorchServe's `/ping`, which means ready here."""
        if self.is_ready:
            await exchange.reply(200, b'{"status": "Healthy"}')
        else:
            await exchange.reply(500, b'{"status": "Unhealthy"}')

    def _state(self) -> str:
        """Say why requests are not served."""
        if self.is_draining:
            return "draining"
        return "scaled to 0 workers" if self._replicas.registry.is_at_rest() else "starting"

    async def liveness(self, exchange: Exchange) -> None:
        """Answer `/health_liveness`, the old name of alive."""
        await exchange.reply(200, b'{"status": "success"}')
