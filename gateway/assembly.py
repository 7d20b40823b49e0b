"""Builds the ASGI application: every part receives the parts that it uses."""

from __future__ import annotations

from typing import Any

from gateway.app import Gateway
from gateway.proxy.entrance import Entrance
from gateway.proxy.judging import Judge
from gateway.proxy.proxy import Proxy
from gateway.replicas.replicas import Replicas
from gateway.routes.admission import Admission
from gateway.routes.answering import Answering
from gateway.routes.exposition import Exposition
from gateway.routes.health import Health
from gateway.routes.inference import Inference
from gateway.routes.kserve import KServe
from gateway.routes.management import Management
from gateway.routes.pages import Pages
from gateway.routes.predictions import Predictions
from gateway.routes.table import Answerers, make_routes
from gateway.routes.tgi import Tgi
from gateway.settings import Settings
from gateway.settings.key_limits import parse_key_limits
from gateway.torchserve.client import Upstream
from gateway.torchserve.crashes import Crashes
from gateway.torchserve.restarts import Restarts
from gateway.web.auth import Guard
from gateway.web.callers import Callers
from gateway.web.fair_queue import FairQueue
from gateway.web.metrics import Metrics
from gateway.web.rate_limit import RateLimit
from gateway.web.token_budget import TokenBudget


def make_gateway(
    settings: Settings,
    upstream: Upstream,
    replicas: Replicas,
    health: Health,
    queue: FairQueue,
    restarts: Restarts,
    crashes: Crashes,
    secret: str,
) -> Gateway:
    """Return the application in front of one TorchServe."""

    def gauges() -> dict[str, tuple[str, float]]:
        in_flight, capacity = queue.in_flight, replicas.registry.capacity()
        running, waiting = min(in_flight, capacity), max(0, in_flight - capacity)
        return {
            "gpt2_num_requests_running": ("Sequences that are being generated.", running),
            "gpt2_num_requests_waiting": ("Sequences that wait for a slot.", waiting),
            "gpt2_replicas": ("Copies of the model.", len(replicas.registry.all())),
            "gpt2_ready": ("1 if the service is ready.", float(health.is_ready)),
            "gpt2_torchserve_restarts": ("Recent restarts of TorchServe.", restarts.count),
        }

    metrics = Metrics(gauges, replicas.registry.cards)
    guard = Guard(settings)
    rates = RateLimit(settings.requests_per_minute, settings.redis_url)
    admission = Admission(settings, guard, rates, replicas, health)
    limits = parse_key_limits(settings.key_limits)
    budget = TokenBudget(limits, settings.redis_url)
    entrance = Entrance(queue, Callers(limits), budget, replicas.registry)
    proxy = Proxy(settings, upstream, replicas, entrance, Judge(queue), metrics, crashes, secret)
    health.on_drain(proxy.drain)
    registry, needs_key = replicas.registry, settings.metrics_access == "key"
    answering = Answering(settings, registry, proxy)
    tgi = Tgi(settings, admission, registry, answering)
    pages = Pages(lambda: _describe(settings))
    answerers = Answerers(
        pages=pages,
        inference=Inference(settings, admission, registry, proxy, metrics, tgi, health),
        predictions=Predictions(settings, admission, registry, proxy, answering, pages),
        kserve=KServe(admission, registry, answering, health),
        tgi=tgi,
        management=Management(settings, admission, replicas, health),
        health=health,
        exposition=Exposition(admission, metrics, upstream, needs_key=needs_key),
    )
    routes = make_routes(settings, answerers)
    return Gateway(settings, routes, guard, admission, metrics)


def _describe(settings: Settings) -> dict[str, Any]:
    """Return the description of the interface.

    pydantic is loaded by this alone, so an idle service does without it.
    """
    from gateway.openapi.document import describe

    return describe(settings)
