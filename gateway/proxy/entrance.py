"""The way in of a prediction: its caller's tokens, its turn, and its way out again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.proxy.prediction import Prediction
from gateway.replicas.in_flight import Aborted, InFlight
from gateway.replicas.replicas import Replicas
from gateway.web.callers import Callers
from gateway.web.exchange import ClientGone
from gateway.web.fair_queue import FairQueue
from gateway.web.record import Record
from gateway.web.token_budget import TokenBudget

# Shorter waits are the loop's own.
NOTED_MS = 1.0


class Entrance:
    """Lets predictions in when it is their turn, and counts what they used."""

    def __init__(
        self, queue: FairQueue, callers: Callers, budget: TokenBudget, replicas: Replicas
    ) -> None:
        self._queue = queue
        self._callers = callers
        self._budget = budget
        self._registry = replicas.registry
        self._on_demand = replicas.on_demand

    @asynccontextmanager
    async def place(
        self, record: Record, prediction: Prediction, request: InFlight
    ) -> AsyncIterator[None]:
        """Have a place for a prediction, however it ends, in a model that is loaded.

        Raises:
            ClientGone: Its client left while it waited.
            GatewayError: There is no room, or its key has no tokens left.
        """
        if prediction.writes:  # whose key has no tokens left has nothing loaded
            await self._budget.refuse_if_spent(record.key)
        async with AsyncExitStack() as stack:
            if self._on_demand.is_on:
                await self._load(record, prediction, request, stack)
            await self._wait_for_turn(record, prediction, request)
            try:
                yield
            finally:
                self._queue.leave(prediction.sequences)
                if record.usage is not None:
                    used = record.usage.prompt_tokens + record.usage.completion_tokens
                    await self._budget.spend(record.key, used)

    async def _load(
        self, record: Record, prediction: Prediction, request: InFlight, stack: AsyncExitStack
    ) -> None:
        """Have the model be loaded, and stay so as long as the stack holds."""
        lease = self._on_demand.lease(prediction.model, prediction.version)
        try:
            async with request:
                await stack.enter_async_context(lease)
        except Aborted as aborted:
            record.aborted = aborted.cause.value
            raise ClientGone from None

    async def _wait_for_turn(
        self, record: Record, prediction: Prediction, request: InFlight
    ) -> None:
        """Return once it is its turn, with slots."""
        caller = self._callers.of(record, prediction.priority)
        capacity, began = self._registry.capacity(), time.perf_counter()
        record.entered_at = began
        try:
            async with request:
                await self._queue.enter(
                    caller, prediction.sequences, capacity, prediction.most_sequences
                )
        except Aborted as aborted:
            record.aborted = aborted.cause.value
            raise ClientGone from None
        waited = 1000 * (time.perf_counter() - began)
        if waited > NOTED_MS:
            record.queued_ms = round(waited, 1)
