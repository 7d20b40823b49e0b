"""The connection to TorchServe on loopback: pooled, and every request is built afresh here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from gateway.torchserve.connection import Connection, ConnectionLost, ConnectionPool

CONNECT_SECONDS = 5.0
MANAGEMENT_SECONDS = 10.0


class UpstreamError(Exception):
    """TorchServe's management refused, or did not answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Unsigned(UpstreamError):
    """TorchServe was not asked: the archive's signature is not of the key that is asked for."""

    def __init__(self, message: str) -> None:
        super().__init__(403, message)


class Upstream:
    """Speaks HTTP to one TorchServe."""

    def __init__(self, inference: str, management: str, metrics: str) -> None:
        address = urlsplit(inference)
        self._connections = ConnectionPool(
            address.hostname or "127.0.0.1", address.port or 80, CONNECT_SECONDS
        )
        self._management = management
        self._metrics = metrics
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Open the pool; needs a running event loop."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30, force_close=False),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def close(self) -> None:
        """Close every connection."""
        self._connections.close()
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The open pool."""
        assert self._session is not None
        return self._session

    async def predict(
        self, replica: str, version: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> Connection:
        """Send a prediction and return its connection; `finish` it when its reply is done with.

        Raises:
            OSError: TorchServe cannot be reached.
        """
        url = f"/predictions/{quote(replica)}/{quote(version)}"
        return await self._connections.post(f"{url}/{path}" if path else url, body, headers)

    def finish(self, connection: Connection) -> None:
        """Take a connection back. Closed if unfinished: TorchServe sees that nobody listens."""
        self._connections.give_back(connection)

    async def manage(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        seconds: float = MANAGEMENT_SECONDS,
    ) -> Any:
        """Send a management request and return its JSON.

        Raises:
            UpstreamError: TorchServe refused it or cannot be reached.
        """
        url = self._management + path
        timeout = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self.session.request(
                method, url, params=query, timeout=timeout, allow_redirects=False
            ) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise UpstreamError(503, "TorchServe does not answer") from None
        try:
            value = json.loads(text) if text else {}
        except ValueError:
            value = {"message": text}
        if response.status >= 400:
            message = value.get("message") if isinstance(value, dict) else None
            raise UpstreamError(response.status, str(message or "TorchServe refused"))
        return value

    async def ask(self, replica: str, version: str, path: str) -> Any:
        """Ask a handler a question that needs no generation; None where it cannot answer."""
        headers = {"content-type": "application/json"}
        try:
            async with asyncio.timeout(MANAGEMENT_SECONDS):
                connection = await self.predict(replica, version, path, b"{}", headers)
                try:
                    status, text = await connection.head(), await connection.read_all()
                finally:
                    self.finish(connection)
            return json.loads(text) if status == 200 else None
        except (ConnectionLost, TimeoutError, OSError, ValueError):
            return None

    async def metrics(self) -> str:
        """Return TorchServe's exposition, or nothing while it cannot be reached."""
        timeout = aiohttp.ClientTimeout(total=CONNECT_SECONDS)
        try:
            async with self.session.get(f"{self._metrics}/metrics", timeout=timeout) as response:
                return await response.text() if response.status == 200 else ""
        except (aiohttp.ClientError, TimeoutError, OSError):
            return ""
