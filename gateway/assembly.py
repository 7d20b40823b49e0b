"""Builds the ASGI application from its parts, and the gauges that read them."""

from __future__ import annotations

from typing import Any

from gateway.app import Gateway
from gateway.proxy.entrance import Entrance
from gateway.proxy.judging import Judge
from gateway.proxy.proxy import Proxy
from gateway.proxy.reply import FAILED
from gateway.replicas.in_flight import Abort
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
from gateway.routes.status import Status
from gateway.routes.table import Answerers, make_routes
from gateway.routes.tgi import Tgi
from gateway.settings import Settings, SettingsError
from gateway.settings.key_limits import parse_key_limits
from gateway.torchserve.client import Upstream
from gateway.torchserve.crashes import Crashes
from gateway.torchserve.restarts import Restarts
from gateway.web.auth import Guard
from gateway.web.callers import Callers
from gateway.web.fair_queue import FairQueue
from gateway.web.metrics import Metrics, Values
from gateway.web.rate_limit import RateLimit
from gateway.web.recent_errors import RecentErrors
from gateway.web.token_budget import TokenBudget
from gateway.web.tracing import Tracing

NOT_INSTALLED = (
    "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: install it with "
    "`python3 -m commands install serve trace`, or unset it to run without traces"
)


def make_tracing(settings: Settings) -> Tracing:
    """Return what makes traces as the settings want them; OpenTelemetry is imported here alone.

    Raises:
        SettingsError: They want some, and the packages for that are not installed.
    """
    if not settings.otel_exporter_otlp_endpoint:
        return Tracing()
    try:
        from gateway.web.otel import OpenTelemetry
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise SettingsError(NOT_INSTALLED) from None
    return OpenTelemetry(settings)


def make_gateway(
    settings: Settings,
    upstream: Upstream,
    replicas: Replicas,
    health: Health,
    queue: FairQueue,
    restarts: Restarts,
    crashes: Crashes,
    secret: str,
    tracing: Tracing,
) -> Gateway:
    """Return the application in front of one TorchServe."""
    registry, on_demand = replicas.registry, replicas.on_demand

    metrics = _make_metrics(settings, replicas, health, queue, restarts)
    guard = Guard(settings)
    rates = RateLimit(settings.requests_per_minute, settings.redis_url)
    admission = Admission(settings, guard, rates, replicas, health)
    limits = parse_key_limits(settings.key_limits)
    budget = TokenBudget(limits, settings.redis_url)
    entrance = Entrance(queue, Callers(limits), budget, replicas)
    proxy = Proxy(settings, upstream, replicas, entrance, Judge(queue), metrics, crashes, secret)
    health.on_drain(proxy.drain)
    health.on_drain(on_demand.drain)
    needs_key = settings.metrics_access == "key"
    answering = Answering(settings, registry, proxy)
    tgi = Tgi(settings, admission, registry, answering)
    pages = Pages(lambda: _describe(settings))
    errors = RecentErrors()
    answerers = Answerers(
        pages=pages,
        inference=Inference(settings, admission, registry, on_demand, proxy, metrics, tgi, health),
        predictions=Predictions(settings, admission, registry, on_demand, proxy, answering, pages),
        kserve=KServe(admission, registry, on_demand, answering, health),
        tgi=tgi,
        management=Management(settings, admission, replicas, health),
        health=health,
        status=Status(settings, admission, registry, health, guard, budget, limits, errors),
        exposition=Exposition(admission, metrics, upstream, needs_key=needs_key),
    )
    routes = make_routes(settings, answerers)
    return Gateway(settings, routes, guard, admission, metrics, tracing, errors)


def _make_metrics(
    settings: Settings, replicas: Replicas, health: Health, queue: FairQueue, restarts: Restarts
) -> Metrics:
    """Return the metrics, which look at the others when they are asked for."""
    registry, on_demand = replicas.registry, replicas.on_demand

    def serving_gauges() -> Values:
        in_flight, capacity = queue.in_flight, registry.capacity()
        running, waiting = min(in_flight, capacity), max(0, in_flight - capacity)
        return {
            "num_requests_running": ("Sequences that are being generated.", running),
            "num_requests_waiting": ("Sequences that wait for a slot.", waiting),
        }

    def gauges() -> Values:
        return {
            "replicas": ("Replicas of the model.", len(registry.all())),
            "ready": ("1 if the service is ready.", float(health.is_ready)),
            "models_loaded": ("Models in memory.", on_demand.resident.loaded),
            "models_memory_bytes": (
                "Memory of all workers after loading, without caches.",
                on_demand.resident.used,
            ),
        }

    def counts() -> Values:
        return {
            "torchserve_restarts": (
                "How often TorchServe failed and was restarted.",
                restarts.total,
            ),
            "model_loads": ("Models loaded on demand.", on_demand.loads),
            "model_evictions": (
                "Models put away to make room for another.",
                on_demand.eviction.count,
            ),
        }

    return Metrics(
        settings.model_name,
        gauges,
        counts,
        serving_gauges,
        registry.cards,
        lambda: {replica.name for replica in registry.all()},
        [*(cause.value for cause in Abort), FAILED],
    )


def _describe(settings: Settings) -> dict[str, Any]:
    """Return the description of the interface.

    pydantic is loaded by this alone, so an idle service does without it.
    """
    from gateway.openapi.document import describe

    return describe(settings)
