"""CORS: the sites whose pages may call from a browser, HOST's own and those listed."""

from __future__ import annotations

import re

from gateway.settings import Settings
from gateway.web.exchange import Exchange

ALLOWED_METHODS = b"GET, POST, PUT"
EXPOSED = (
    b"x-request-id, x-language-warning, x-ignored-fields, x-model-digest, x-seed, retry-after, "
    b"inference-header-content-length"
)
# Names of headers by commas (RFC 9110, 5.6.2): what a browser asks for is answered as it came.
NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]*")


class Cors:
    """Adds the headers of cross-origin requests; keys travel in headers, so none needs cookies."""

    def __init__(self, settings: Settings) -> None:
        self._origins = {origin.rstrip("/") for origin in settings.cors_origins}
        if settings.public_origin is not None:
            self._origins.add(settings.public_origin)

    def apply(self, exchange: Exchange) -> bool:
        """Add headers where the origin is allowed; return whether this is a preflight."""
        origin = exchange.headers.get("origin")
        if not origin or not self._origins:
            return False
        exchange.reply_headers.append((b"vary", b"origin"))
        if "*" in self._origins:
            allowed = b"*"
        elif origin in self._origins:
            allowed = origin.encode("latin-1")
        else:
            return False
        exchange.reply_headers.append((b"access-control-allow-origin", allowed))
        exchange.reply_headers.append((b"access-control-expose-headers", EXPOSED))
        is_preflight = "access-control-request-method" in exchange.headers
        return exchange.method == "OPTIONS" and is_preflight

    async def preflight(self, exchange: Exchange) -> None:
        """Answer a browser that asks before it sends."""
        headers = [
            (b"access-control-allow-methods", ALLOWED_METHODS),
            (b"access-control-max-age", b"600"),
        ]
        asked = exchange.headers.get("access-control-request-headers", "")
        if asked and NAMES.fullmatch(asked):
            headers.append((b"access-control-allow-headers", asked.encode("ascii")))
            headers.append((b"vary", b"access-control-request-headers"))
        await exchange.reply(204, b"", headers=headers)
