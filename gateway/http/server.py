"""The ASGI server: uvicorn, with our own connections and bounds on them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Protocol

import uvicorn

from gateway.http.connection import Connection
from gateway.http.connection_limit import ConnectionLimit
from gateway.settings import Settings
from gateway.web.exchange import Exchange, Receive, Scope, Send

logger = logging.getLogger("gateway.server")

# Time for connections that are still open at the end.
CLOSE_SECONDS = 0.3
# Connections to TorchServe, and whatever else is a file: logs, pipes, sockets of the event loop.
MAX_UPSTREAM_CONNECTIONS = 256
SPARE_FILES = 64
LEAST_CONNECTIONS = 8


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the supervisor."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class Application(Protocol):
    """The ASGI application, and its log."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

    def note(self, exchange: Exchange) -> None:
        """Log and count a request that the server answered itself."""


def make_server(app: Application, settings: Settings) -> Server:
    """Return the server for `app`; it is given a socket that is bound already."""
    most = affordable_connections(settings.max_connections)
    shared = {
        "settings": settings,
        "limit": ConnectionLimit(most, settings.health_connections),
        "note": staticmethod(app.note),
    }
    protocol = type("Protocol", (Connection,), shared)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        loop="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(settings.idle_seconds),
    )
    # Requests were ended before: what is left are readers that do not read. Uvicorn says `int`.
    config.timeout_graceful_shutdown = CLOSE_SECONDS  # type: ignore[assignment]
    return Server(config)


def affordable_connections(wanted: int) -> int:
    """Raise the bound of open files to what `wanted` connections need; return how many it allows.

    Each may be served over a connection to TorchServe, which is an open file as well.
    """
    try:
        import resource
    except ImportError:  # no such bound on this system
        return wanted
    needed = wanted + MAX_UPSTREAM_CONNECTIONS + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    allowed = max(LEAST_CONNECTIONS, soft - MAX_UPSTREAM_CONNECTIONS - SPARE_FILES)
    logger.warning(
        "MAX_CONNECTIONS is %d, but the system allows %d open files: using %d",
        wanted,
        soft,
        allowed,
    )
    return allowed
