"""One request and its reply: reads the body within bounds, writes what every reply carries."""

from __future__ import annotations

import asyncio
import math
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http import HTTPStatus
from typing import Any, Protocol

from gateway.errors import BadRequest, GatewayError, RequestTimeout, TooLarge, clients_of
from gateway.web.record import Record

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

STREAM_HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
MIB = 1 << 20


class Flow(Protocol):
    """Whether a connection's reader keeps up."""

    write_paused: bool

    async def drain(self) -> None:
        """Wait until it does."""


class ClientConnection(Protocol):
    """What the server knows of a client's connection."""

    transport: asyncio.Transport
    flow: Flow
    # Whether it is one of those that are kept for the health routes.
    is_reserved: bool

    def hold(self) -> None:
        """Send what is written next with what follows it in this turn of the event loop."""

    def write(self, data: bytes) -> None:
        """Send a part of a reply."""


async def wait_for_reader(connection: ClientConnection, seconds: float) -> bool:
    """Wait until a client has taken what was written to it, but for the last 16 KB.

    A client that takes longer than `seconds` is cut off: with a byte now and then it could hold its
    connection, and what was written, for ever. Returns whether it was in time.
    """
    try:
        async with asyncio.timeout(seconds):
            await connection.flow.drain()
    except TimeoutError:
        connection.transport.abort()
        return False
    return True


class ClientGone(Exception):
    """The client disconnected, or its reply has begun and cannot go on: no answer is possible."""


class Exchange:
    """A request on its way through the gateway."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self._send = send
        self.began = time.perf_counter()
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        # Who reads what goes wrong.
        self.clients = clients_of(self.method, self.path)
        self.peer: str = (scope.get("client") or ("", 0))[0]
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.headers = headers
        given = headers.get("x-request-id", "")
        self.request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(12)
        trace = TRACEPARENT.fullmatch(headers.get("traceparent", ""))
        self.traceparent = trace[0] if trace else None
        self.trace = trace[1] if trace else None
        self.span = trace[2] if trace else None
        # Whether somebody keeps that trace, so that it can be looked up.
        self.is_sampled = bool(trace and int(trace[3], 16) & 1)
        # What makes traces keeps here what it needs of the request.
        self.traced: object = None
        self.reply_headers: list[Header] = [(b"x-request-id", self.request_id.encode())]
        self.status = 0
        # Whether it is answered by a stream whose head was sent, and whether all was sent.
        self.streams = self.has_ended = False
        self.wrote_at = self.began
        self._head = asyncio.Lock()
        # HTTP/1.0 has no chunks: its stream ends with the connection.
        self._is_chunked = scope.get("http_version") != "1.0"
        self.bytes_sent = 0
        self.body_bytes = 0
        self.record = Record()
        # Whether the connection is closed after the reply.
        self.closes = False
        self._unread = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"

    async def body(self, most: int, seconds: float, take: Callable[[int], None]) -> bytes:
        """Read the whole body; `take` gets the size of every chunk, and may refuse it.

        Raises:
            TooLarge: It is longer than `most` bytes.
            RequestTimeout: It took longer than `seconds`.
            ClientGone: The client disconnected.
        """
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise BadRequest("Compressed bodies are not supported", param="content-encoding")
        length = self.headers.get("content-length", "")
        if length.isdigit() and int(length) > most:
            raise TooLarge(f"The body has {int(length)} bytes; at most {most} are allowed")
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                while True:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    part = message.get("body", b"")
                    if self.body_bytes + len(part) > most:
                        raise TooLarge(f"The body is longer than {most} bytes")
                    take(len(part))
                    self.body_bytes += len(part)
                    body += part
                    if not message.get("more_body", False):
                        self._unread = False
                        return bytes(body)
        except TimeoutError:
            raise RequestTimeout(f"The body took longer than {seconds:g} s") from None

    @property
    def connection(self) -> ClientConnection:
        """The client's connection, for a stream that is written to it directly."""
        made: ClientConnection = self.scope["extensions"]["gateway.connection"]
        return made

    def join_trace(self, trace: str, span: str, is_sampled: bool) -> None:
        """Belong to a trace of ours: `span` is this request's own, and the parent of what follows.

        Args:
            trace: 32 hexadecimal digits.
            span: 16 of them.
            is_sampled: Whether it is kept.
        """
        self.trace, self.span, self.is_sampled = trace, span, is_sampled
        self.traceparent = f"00-{trace}-{span}-{is_sampled:02x}"

    @property
    def exemplar(self) -> dict[str, str] | None:
        """What a metric's bucket is to name of it: the trace that shows it, if that is kept."""
        return {"trace_id": self.trace} if self.trace and self.is_sampled else None

    async def start(self, status: int, headers: Iterable[Header] = ()) -> None:
        """Send the head of the reply; a connection whose request was not read is closed after."""
        self.status = status
        own = [*self.reply_headers, *headers]
        if self._unread or self.closes:
            own.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": status, "headers": own})

    async def start_stream(self) -> None:
        """Send the head of a stream of events, once; returns when it is on its way."""
        async with self._head:
            if not self.streams:
                self.connection.hold()  # its first events follow at once
                await self.start(200, STREAM_HEADERS)
                self.streams = True

    def write(self, chunk: bytes, now: float) -> None:
        """Send whole events of a stream that has begun, at once; `now` is `time.perf_counter()`."""
        self.connection.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._is_chunked else chunk)
        self.bytes_sent += len(chunk)
        self.wrote_at = now

    async def end(self, chunk: bytes = b"") -> None:
        """Send the last chunk."""
        self.has_ended = True
        self.bytes_sent += len(chunk)
        await self._send({"type": "http.response.body", "body": chunk})

    async def reply(
        self,
        status: int,
        body: bytes,
        content_type: str = "application/json",
        headers: Iterable[Header] = (),
    ) -> None:
        """Send a whole reply."""
        own = [(b"content-type", content_type.encode())] if body else []
        if status != HTTPStatus.NO_CONTENT:
            own.append((b"content-length", str(len(body)).encode()))
        self.connection.hold()  # its body follows at once
        await self.start(status, [*own, *headers])
        await self.end(body)

    async def fail(self, error: GatewayError, headers: Iterable[Header] = ()) -> None:
        """Answer with an error."""
        own = list(headers)
        if error.retry_after is not None:
            own.append((b"retry-after", str(error.retry_after).encode()))
        if error.status == 401:
            own.append((b"www-authenticate", b"Bearer"))
        self.record.error = error.code or error.kind
        await self.reply(error.status, error.body(self.clients), headers=own)

    async def wait_for_reader(self, seconds: float) -> None:
        """Wait until the client has taken its reply: `seconds` for each MiB of it that waits."""
        connection = self.connection
        if not connection.flow.write_paused:
            return
        mebibytes = math.ceil(connection.transport.get_write_buffer_size() / MIB)
        if not await wait_for_reader(connection, seconds * mebibytes):
            self.record.aborted = "client_gone"

    async def wait_disconnect(self) -> None:
        """Return when the client has gone away."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
