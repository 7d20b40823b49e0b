"""The page, the reference of the interface, and its description."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from gateway.errors import Forbidden
from gateway.web.exchange import Exchange
from gateway.web.static import REFERENCE, StaticFiles

PREDICTIONS = "/predictions/"
# By this the service worker knows what to keep, and when to keep it anew.
LISTING = "files.json"


class Pages:
    """Serves what a browser reads."""

    def __init__(self, describe: Callable[[], dict[str, Any]]) -> None:
        self._describe = describe
        self._files = StaticFiles()
        self._reference_files = StaticFiles(REFERENCE)
        self._description = b""

    async def index(self, exchange: Exchange) -> None:
        """Answer `/` with the page, or OPTIONS with the description."""
        if exchange.method == "OPTIONS":  # TorchServe's question of what there is
            refuse_preflight(exchange)
            await self.describe(exchange)
            return
        await self._files.serve(exchange, "index.html")

    async def page(self, exchange: Exchange) -> None:
        """Answer `/page/...` with a file of the page."""
        name = exchange.scope["path_params"]["name"]
        if name == LISTING:
            await exchange.reply(200, json.dumps(self._files.digests()).encode())
            return
        await self._files.serve(exchange, name)

    async def status(self, exchange: Exchange) -> None:
        """Answer `/status` with the operator's page, which asks for the management key itself."""
        await self._files.serve(exchange, "status.html")

    async def reference(self, exchange: Exchange) -> None:
        """Answer `/docs` with the reference, `/docs/...` with a file of it."""
        name = exchange.scope["path_params"].get("name", "index.html")
        await self._reference_files.serve(exchange, name)

    async def describe(self, exchange: Exchange) -> None:
        """Answer `/openapi.json`."""
        if not self._description:
            self._description = json.dumps(self._describe(), indent=1).encode()
        await exchange.reply(200, self._description)

    async def describe_predictions(self, exchange: Exchange) -> None:
        """Answer with what of the description is about predictions."""
        whole = self._describe()
        paths = {
            path: methods
            for path, methods in whole["paths"].items()
            if path.startswith(PREDICTIONS)
        }
        await exchange.reply(200, json.dumps(whole | {"paths": paths}, indent=1).encode())


def refuse_preflight(exchange: Exchange) -> None:
    """Refuse a browser's question on behalf of a page that may not ask here."""
    if "access-control-request-method" in exchange.headers:
        raise Forbidden("This origin is not in CORS_ORIGINS", code="origin_not_allowed")
