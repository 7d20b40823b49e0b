"""What the gateway is made of: built by the supervisor, used by the routes."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.health import Health
from gateway.limits import RateLimit
from gateway.logs import RequestLog
from gateway.management import Management
from gateway.metrics import Metrics
from gateway.proxy import Proxy
from gateway.replicas import Replicas
from gateway.security import Guard
from gateway.settings import Settings
from gateway.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Parts:
    """What the routes are made of."""

    settings: Settings
    guard: Guard
    rates: RateLimit
    replicas: Replicas
    proxy: Proxy
    management: Management
    health: Health
    metrics: Metrics
    upstream: Upstream
    requests: RequestLog
