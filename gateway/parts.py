"""What the gateway is made of: built by the supervisor, used by the routes."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.proxy.proxy import Proxy
from gateway.replicas.replicas import Replicas
from gateway.routes.health import Health
from gateway.routes.management import Management
from gateway.settings import Settings
from gateway.torchserve.client import Upstream
from gateway.web.auth import Guard
from gateway.web.limits import RateLimit
from gateway.web.logs import RequestLog
from gateway.web.metrics import Metrics


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
