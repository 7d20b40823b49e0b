"""Who may come in, how often, and with how much."""

from __future__ import annotations

from collections.abc import Callable

from gateway.errors import Unauthorized, Unavailable, draining
from gateway.parts import Parts
from gateway.web.auth import neighbourhood
from gateway.web.exchange import Exchange
from gateway.web.limits import Budget
from gateway.web.turns import Turns


class Door:
    """Judges every request before anybody works for it; bodies together have a bound."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._bodies = Budget(parts.settings.max_bodies_bytes)
        self._turns = Turns()

    def leave(self, exchange: Exchange) -> None:
        """Note that a request has ended: its body takes no room any more."""
        self._bodies.give_back(exchange.body_bytes)

    async def admit(self, exchange: Exchange) -> bytes:
        """Judge who asks, how often and how much; return the body."""
        guard = self._parts.guard
        key = await self._known(exchange, lambda: guard.for_inference(exchange.headers))
        self._refuse_if_draining(exchange)
        address = neighbourhood(exchange.facts["client"])
        await self._parts.rates.hit(f"key {key}" if guard.inference else f"address {address}")
        replicas = self._parts.replicas
        if not replicas.was_ready and not replicas.is_at_rest():
            raise Unavailable("The model is starting", code="not_ready", retry_after=5)
        body = b"" if exchange.method == "GET" else await self._read_body(exchange)
        await self._turns.wait(len(body))
        return body

    async def admit_manager(self, exchange: Exchange) -> bytes:
        """Judge who asks how the service is set up, or for a change of that; return the body.

        A service that shuts down still tells, and begins no change any more.
        """
        guard = self._parts.guard
        await self._known(exchange, lambda: guard.for_management(exchange.headers, exchange.peer))
        if exchange.method in ("GET", "HEAD"):
            return b""
        self._refuse_if_draining(exchange)
        return await self._read_body(exchange)

    async def _read_body(self, exchange: Exchange) -> bytes:
        settings = self._parts.settings
        body = await exchange.body(
            settings.max_body_bytes, settings.body_seconds, self._bodies.take
        )
        self._refuse_if_draining(exchange)  # the signal may have come before the body's end
        return body

    def _refuse_if_draining(self, exchange: Exchange) -> None:
        if self._parts.health.is_draining:
            exchange.closes = True
            raise draining()

    async def _known(self, exchange: Exchange, judge: Callable[[], str]) -> str:
        """Return the name of who asks; wrong keys of one address are counted, and bounded.

        A right key is served all the same: who sends wrong ones locks nobody out beside them.
        """
        try:
            exchange.facts["key"] = judge()
        except Unauthorized:
            address = neighbourhood(exchange.facts["client"])
            await self._parts.rates.hit(f"failures {address}")
            raise
        return str(exchange.facts["key"])
