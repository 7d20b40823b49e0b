"""`/metrics`: our metrics and TorchServe's, for Prometheus."""

from __future__ import annotations

from urllib.parse import parse_qsl

from gateway.routes.admission import Admission
from gateway.torchserve.client import Upstream
from gateway.web.exchange import Exchange
from gateway.web.metrics import Metrics


class Exposition:
    """Serves the metrics, to everybody or to who has the management key."""

    def __init__(
        self, admission: Admission, metrics: Metrics, upstream: Upstream, *, needs_key: bool
    ) -> None:
        self._admission = admission
        self._metrics = metrics
        self._upstream = upstream
        self._needs_key = needs_key

    async def metrics(self, exchange: Exchange) -> None:
        """Answer `/metrics`."""
        if self._needs_key:
            await self._admission.admit_manager(exchange)
        query = exchange.scope["query_string"].decode("latin-1")
        wanted = [value for name, value in parse_qsl(query) if name == "name[]"]
        torchserves, accept = await self._upstream.metrics(), exchange.headers.get("accept", "")
        text, content_type = self._metrics.exposition(torchserves, wanted, accept)
        await exchange.reply(200, text, content_type)
