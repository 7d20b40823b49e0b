"""Admission: who may send a request, how often, and how large."""

from __future__ import annotations

from collections.abc import Callable

from gateway.errors import Unauthorized, Unavailable, draining
from gateway.replicas.replicas import Replicas
from gateway.routes.health import Health
from gateway.settings import Settings
from gateway.web.auth import Guard, neighbourhood
from gateway.web.body_budget import BodyBudget
from gateway.web.exchange import Exchange
from gateway.web.rate_limit import RateLimit
from gateway.web.turns import Turns


class Admission:
    """Judges every request before anybody works for it; bodies together have a bound."""

    def __init__(
        self, settings: Settings, guard: Guard, rates: RateLimit, replicas: Replicas, health: Health
    ) -> None:
        self._settings = settings
        self._guard = guard
        self._rates = rates
        self._replicas = replicas
        self._health = health
        self._bodies = BodyBudget(settings.max_bodies_bytes)
        self._turns = Turns()

    def leave(self, exchange: Exchange) -> None:
        """Note that a request has ended: its body takes no room any more."""
        self._bodies.give_back(exchange.body_bytes)

    async def admit(self, exchange: Exchange) -> bytes:
        """Judge who asks, how often and how much; return the body.

        Raises:
            GatewayError: The request is refused.
        """
        await self.admit_question(exchange)
        if not self._replicas.monitor.was_ready and not self._replicas.registry.is_at_rest():
            raise Unavailable("The model is starting", code="not_ready", retry_after=5)
        body = b"" if exchange.method == "GET" else await self._read_body(exchange)
        await self._turns.wait(len(body))
        return body

    async def admit_question(self, exchange: Exchange) -> None:
        """Judge who asks, and how often, for what needs no model that is ready.

        Raises:
            GatewayError: The request is refused.
        """
        guard = self._guard
        key = await self._known(exchange, lambda: guard.for_inference(exchange.headers))
        self._refuse_if_draining(exchange)
        address = neighbourhood(exchange.record.client)
        await self._rates.hit(f"key {key}" if guard.inference else f"address {address}")

    async def admit_manager(self, exchange: Exchange) -> bytes:
        """Judge who asks how the service is set up, or for a change of that; return the body.

        A service that shuts down still answers questions, but begins no change.

        Raises:
            GatewayError: The request is refused.
        """
        guard = self._guard
        await self._known(exchange, lambda: guard.for_management(exchange.headers, exchange.peer))
        if exchange.method in ("GET", "HEAD"):
            return b""
        self._refuse_if_draining(exchange)
        return await self._read_body(exchange)

    async def _read_body(self, exchange: Exchange) -> bytes:
        settings = self._settings
        body = await exchange.body(
            settings.max_body_bytes, settings.body_seconds, self._bodies.take
        )
        self._refuse_if_draining(exchange)  # the signal may have come before the body's end
        return body

    def _refuse_if_draining(self, exchange: Exchange) -> None:
        if self._health.is_draining:
            exchange.closes = True
            raise draining()

    async def _known(self, exchange: Exchange, judge: Callable[[], str]) -> str:
        """Return the name of who asks; wrong keys of one address are counted, and bounded.

        A right key is served all the same: who sends wrong ones locks nobody out beside them.
        """
        try:
            key = exchange.record.key = judge()
        except Unauthorized:
            address = neighbourhood(exchange.record.client)
            await self._rates.hit(f"failures {address}")
            raise
        return key
