"""The ASGI server: uvicorn on httptools, with the bounds it has not got of its own.

It adds limits of a request's head (size, time), of connections and of readers that stand still.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.errors import error_body
from gateway.exchange import Exchange, Message, Receive, Scope, Send
from gateway.settings import Settings

logger = logging.getLogger("gateway.server")

# Time for connections that are still open at the end.
CLOSE_SECONDS = 0.3
# Connections to TorchServe, and whatever else is a file: logs, pipes, sockets of the event loop.
MAX_WIRES = 256
SPARE_FILES = 64
LEAST_CONNECTIONS = 8


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the supervisor."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class BoundedProtocol(HttpToolsProtocol):
    """A connection whose request heads and idle reader have bounds."""

    settings: Settings
    max_connections: int
    note: Callable[[Exchange], None]

    _in_head = True
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or close it where there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            transport.abort()
            return
        _bound_idle_reader(transport, self.settings.write_seconds)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; what is still a head is counted and timed."""
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > self.settings.max_header_bytes:
            self._refuse_head()
        elif self._head_timer is None:
            self._arm()

    def on_message_begin(self) -> None:
        """Begin to count a head."""
        super().on_message_begin()
        # A stream's pieces are written to the connection itself: see relay.py.
        self.scope["extensions"] = {"gateway.connection": self}  # type: ignore[dict-item]
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Judge a head that came at once; hand over the request."""
        self._in_head = False
        self._disarm()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.settings.max_header_bytes:
            self._refuse_head()
            return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take in a piece of the body, if its request was let in."""
        if self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request, if it was let in."""
        if self.cycle is not None:
            super().on_message_complete()
        self._in_head = False

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP."""
        self._refuse(400, "The request is not valid HTTP/1.1", "invalid_http")

    def _arm(self) -> None:
        self._head_timer = self.loop.call_later(self.settings.header_seconds, self._too_slow)

    def _disarm(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(408, "The head of the request took too long", "request_timeout")

    def _refuse_head(self) -> None:
        most = self.settings.max_header_bytes
        self._refuse(431, f"The head of the request is longer than {most} bytes", "head_too_large")

    def _refuse(self, status: int, message: str, code: str) -> None:
        if self.transport.is_closing():
            return
        cycle = self.cycle
        scope: Any = {"method": "-", "path": "-", "client": self.client, "headers": []}
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started:
                # An answer is on its way on this connection: nothing may be mixed into it.
                self.transport.close()
                return
            scope = cycle.scope
            cycle.disconnected = True
            cycle.message_event.set()
        request_id = self._note_refusal(scope, status, code)
        body = error_body(message, "invalid_request_error", None, code)
        head = b"content-type: application/json\r\nconnection: close\r\nx-request-id: %s\r\n"
        length = b"content-length: %d\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head % request_id.encode() + length + body)
        self.transport.close()

    def _note_refusal(self, scope: Scope, status: int, code: str) -> str:
        """Have a refusal logged and counted, once; return the request id of its log line."""
        is_served = "exchange" in scope  # then its own end is logged, with this status
        if not is_served:
            scope["exchange"] = Exchange(scope, _nothing_comes, _nothing_goes)
        exchange: Exchange = scope["exchange"]
        exchange.status = status
        exchange.facts["error"] = code
        if not is_served:
            exchange.facts["route"] = "refused"
            type(self).note(exchange)
        return exchange.request_id


class Application(Protocol):
    """The ASGI application, and its log."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

    def note(self, exchange: Exchange) -> None:
        """Log and count a request that the server answered itself."""


def make_server(app: Application, settings: Settings) -> Server:
    """Return the server for `app`; it is given a socket that is bound already."""
    bounds = {
        "settings": settings,
        "max_connections": affordable_connections(settings.max_connections),
        "note": staticmethod(app.note),
    }
    protocol = type("Protocol", (BoundedProtocol,), bounds)
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
    # Replies were told before: what is left are readers that do not read. Uvicorn says `int`.
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
    needed = wanted + MAX_WIRES + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    allowed = max(LEAST_CONNECTIONS, soft - MAX_WIRES - SPARE_FILES)
    logger.warning(
        "MAX_CONNECTIONS is %d, but the system allows %d open files: %d are taken",
        wanted,
        soft,
        allowed,
    )
    return allowed


def listen(settings: Settings) -> socket.socket:
    """Return the socket to listen on.

    Raises:
        OSError: The port is taken, or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in settings.bind else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.bind, settings.port))
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(False)
    return listener


async def _nothing_comes() -> Message:
    return {"type": "http.disconnect"}


async def _nothing_goes(message: Message) -> None:
    return None


def _bound_idle_reader(transport: asyncio.Transport, seconds: float) -> None:
    """Have the kernel end a connection whose reader takes nothing for so long (Linux)."""
    connection = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if connection is not None and option is not None:
        connection.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))
