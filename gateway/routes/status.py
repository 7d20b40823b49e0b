"""The operator's page's data beside the metrics: models, replicas, keys and recent errors."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from typing import Any

from gateway.replicas.registry import Registry
from gateway.routes.admission import Admission
from gateway.routes.health import Health
from gateway.settings import Settings
from gateway.settings.key_limits import KeyLimits
from gateway.web.auth import Guard
from gateway.web.exchange import Exchange
from gateway.web.recent_errors import RecentErrors
from gateway.web.token_budget import TokenBudget

# Of a model's card, what tells one archive from another.
OF_CARD = ("checkpoint", "precision", "context_length", "parameters", "engine", "content_sha256")


class Status:
    """Answers who has the management key."""

    def __init__(
        self,
        settings: Settings,
        admission: Admission,
        registry: Registry,
        health: Health,
        guard: Guard,
        budget: TokenBudget,
        limits: dict[str, KeyLimits],
        errors: RecentErrors,
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._registry = registry
        self._health = health
        self._guard = guard
        self._budget = budget
        self._limits = limits
        self._errors = errors
        self._began = time.time()

    async def facts(self, exchange: Exchange) -> None:
        """Answer `/status/facts`."""
        await self._admission.admit_manager(exchange)
        names = sorted({*self._guard.inference.names, *self._limits})
        facts = {
            "began": self._began,
            "ready": self._health.is_ready,
            "slots": self._registry.capacity(),
            "waiting_limit": self._settings.max_waiting,
            "replicas_limit": self._settings.max_replicas,
            "requests_per_minute": self._settings.requests_per_minute,
            "models": [self._model(name) for name in self._registry.models],
            "keys": [await self._key(name) for name in names],
            "errors": self._errors.newest(),
        }
        await exchange.reply(200, json.dumps(facts).encode())

    def _model(self, name: str) -> dict[str, Any]:
        versions = self._registry.versions(name)
        return {"name": name, "versions": [self._version(name, each) for each in versions]}

    def _version(self, name: str, version: str) -> dict[str, Any]:
        known = self._registry.version(name, version)
        card = known.card or {}
        return {
            "version": version,
            "is_default": self._registry.is_default(name, version),
            "archive": known.archive,
            "state": known.state,
            **{each: card.get(each) for each in OF_CARD},
            "replicas": [
                {"name": each.name, "state": each.state.value, "sequences": each.sequences}
                for each in known.replicas
            ],
        }

    async def _key(self, name: str) -> dict[str, Any]:
        limits = asdict(self._limits.get(name, KeyLimits()))
        return {"name": name, **limits, "left": await self._budget.left(name)}
