"""One client's connection: uvicorn's, with its own reading of HTTP and bounds on all of it.

Requests of a connection are read one after the other, and a body only when it is wanted: what is
sent on top waits in the kernel, and what is refused is neither parsed nor kept.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.errors import error_body
from gateway.http.cycle import Cycle
from gateway.http.framing import Framing, framing_of
from gateway.http.head import END, Head, Refusal, begin_of_head, check_start, read_head
from gateway.http.leaving import end_if_left
from gateway.http.listeners import unmapped
from gateway.http.places import Places
from gateway.settings import Settings
from gateway.web.exchange import Exchange, Message, Scope


class Flow(FlowControl):
    """Has what comes wait in the kernel while enough of it is held here."""

    def __init__(self, transport: asyncio.Transport, holds_enough: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._holds_enough = holds_enough

    def resume_reading(self) -> None:
        """Read on, if there is room."""
        if not self._holds_enough():
            super().resume_reading()


UNFINISHED = Refusal(400, "The request was not sent to its end", "invalid_http")


class Connection(HttpToolsProtocol):
    """Takes a client's requests; every byte of them counts."""

    settings: Settings
    places: Places
    note: Callable[[Exchange], None]

    cycle: Cycle | None  # type: ignore[assignment]
    is_reserved = False
    _framing: Framing | None = None
    _is_half_closed = False
    _looked_at = 0
    # Whether a long body is read on soon, after what others want.
    _will_read = False
    _timer: asyncio.TimerHandle | None = None
    _finding_out: asyncio.Task[None] | None = None
    # Bytes that may still come while the connection lingers; None before it does.
    _discards: int | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or close it where there are too many."""
        super().connection_made(transport)
        if self.client is not None:
            self.client = (unmapped(self.client[0]), self.client[1])
        self._received = bytearray()
        self.flow = Flow(transport, self._holds_enough)
        if not self.places.enter(self):
            transport.abort()
            return
        _bound_idle_reader(transport, self.settings.write_seconds)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        self._unset_keepalive_if_required()
        self.places.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, and read as far as it is wanted."""
        if self._discards is not None:
            self._discard(len(data))
            return
        self._unset_keepalive_if_required()
        self._received += data
        self._read()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what was asked by a client that says no more; return whether to stay open."""
        self._is_half_closed = True
        cycle = self.cycle
        if self._discards is not None:
            return False
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started:
                return False
            cycle.hear_the_end()
        self._read()
        return not self.transport.is_closing()

    # What a reply is written to: see Cycle.

    def write(self, data: bytes) -> None:
        """Send a piece of a reply."""
        self.transport.write(data)

    def is_closing(self) -> bool:
        """Tell whether nothing can be written any more."""
        return self._discards is not None or bool(self.transport.is_closing())

    def close(self) -> None:
        """Close the connection behind a reply."""
        if self._framing is not None or self._received:
            self._linger(self.settings.linger_bytes)
        else:
            self.transport.close()

    def _linger(self, most: int) -> None:
        """Close, but first let the client end what it is writing.

        To close at once would reset the connection, and the reply be lost with it.
        """
        if self.is_closing():
            return
        if self._is_half_closed:
            self.transport.close()
            return
        self._framing = None
        self._received.clear()
        self._discards = most
        self._start_timer(self.settings.linger_seconds, self.transport.abort)
        self.transport.write_eof()
        self.flow.resume_reading()
        self.places.waits(self)

    def give_way(self) -> None:
        """Close a connection that has no request, for the sake of another."""
        self.transport.close()

    def on_response_complete(self) -> None:
        """Go on with the next request."""
        if self.is_closing():
            return
        if self._framing is not None:
            self.close()
            return
        super().on_response_complete()
        self.places.waits(self)
        if self._received or self._is_half_closed:
            self._unset_keepalive_if_required()
            self._read()

    def _find_out_who_left(self, cycle: Cycle) -> None:
        """End a request whose client says no more, unless it is still there to read."""
        if cycle.scope["http_version"] == "1.0":  # which has no interim replies
            self.transport.close()
            return

        def waits() -> bool:
            return not cycle.response_started and not self.transport.is_closing()

        self._finding_out = self.loop.create_task(end_if_left(self.transport, waits))

    # Reading

    def _read(self) -> None:
        """Read on as far as what came, and what is wanted, goes."""
        if self._will_read:
            return
        try:
            while not self.is_closing() and self._read_some():
                pass
        except Refusal as refusal:
            self._refuse(refusal)
        if self._holds_enough():
            self.flow.pause_reading()
        else:
            self.flow.resume_reading()

    def _read_soon(self) -> None:
        self._will_read = False
        self._read()

    def _holds_enough(self) -> bool:
        """Tell whether more is to wait in the kernel."""
        held = len(self._received) + (len(self.cycle.body) if self.cycle else 0)
        return held > HIGH_WATER_LIMIT and self._discards is None

    def _read_some(self) -> bool:
        """Read the next part of a request; tell whether there was one."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            if self._received:
                return self._read_head()
            if self._is_half_closed:
                self.transport.close()
            return False
        if self._framing is not None and cycle.is_body_wanted:
            return self._read_body(cycle, self._framing)
        return False

    def _read_head(self) -> bool:
        received, most = self._received, self.settings.max_header_bytes
        if self._timer is None:
            self._begin_head()
        begin = begin_of_head(received)
        end = received.find(END, max(begin, self._looked_at - len(END)))
        size = len(received) if end < 0 else end + len(END)
        if size > most:
            _refuse_long_head(received[begin:most], most)
        check_start(received, begin, self._looked_at, size)
        if end < 0:
            if self._is_half_closed:
                raise UNFINISHED
            self._looked_at = len(received)
            return False
        block = bytes(received[begin:size])
        del received[:size]
        self._looked_at = 0
        self._stop_timer()
        self._begin_request(read_head(block))
        return True

    def _begin_request(self, head: Head) -> None:
        self.places.works(self)
        self.on_message_begin()
        scope: Any = self.scope
        scope["method"] = head.method
        scope["path"] = unquote(head.path.decode("ascii"))
        scope["raw_path"] = head.path
        scope["query_string"] = head.query
        scope["headers"] = head.fields
        scope["http_version"] = head.version
        # A stream's pieces are written to the connection itself: see relay.py.
        scope["extensions"] = {"gateway.connection": self}
        self.cycle = Cycle(
            wants_body=self._read,
            doubts=self._find_out_who_left,
            scope=scope,
            transport=self,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=head.expects_continue,
            keep_alive=head.keeps_alive,
            on_response=self.on_response_complete,
        )
        if self._is_half_closed:
            self.cycle.hear_the_end()
        framing = framing_of(head, self.settings.max_body_bytes, self.settings.max_header_bytes)
        if framing.is_complete:
            self._end_request(self.cycle)
        else:
            self._framing = framing
        self._start_asgi_task(self.cycle, self.app)

    def _read_body(self, cycle: Cycle, framing: Framing) -> bool:
        cycle.body += framing.take(self._received)
        if self._is_half_closed and not framing.is_complete and not framing.has_more:
            raise UNFINISHED
        if framing.is_complete:
            self._end_request(cycle)
        elif framing.has_more:
            self._will_read = True
            self.loop.call_soon(self._read_soon)
        if cycle.body:
            cycle.message_event.set()
        return False

    def _end_request(self, cycle: Cycle) -> None:
        self._framing = None
        cycle.more_body = False
        cycle.message_event.set()

    def _discard(self, size: int) -> None:
        assert self._discards is not None
        self._discards -= size
        if self._discards < 0:
            self.transport.abort()

    # Time

    def _begin_head(self) -> None:
        self._start_timer(self.settings.header_seconds, self._too_slow)

    def _start_timer(self, seconds: float, act: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, act)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        self._refuse(Refusal(408, "The head of the request took too long", "request_timeout"))

    # Refusals

    def _refuse(self, refusal: Refusal) -> None:
        """Answer in the application's place, and close."""
        if self.is_closing():
            return
        cycle, settings = self.cycle, self.settings
        # Behind a head that is refused nobody honest has more than a whole request.
        lingers = min(settings.linger_bytes, settings.max_header_bytes + settings.max_body_bytes)
        scope: Any = {"method": "-", "path": "-", "client": self.client, "headers": []}
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started:
                # An answer is on its way on this connection: nothing may be mixed into it.
                self.close()
                return
            lingers = settings.linger_bytes
            scope = cycle.scope
            cycle.disconnected = True
            cycle.message_event.set()
        request_id = self._note_refusal(scope, refusal)
        body = error_body(refusal.message, "invalid_request_error", None, refusal.code)
        head = b"content-type: application/json\r\nconnection: close\r\nx-request-id: %s\r\n"
        length = b"content-length: %d\r\n\r\n" % len(body)
        self.write(STATUS_LINE[refusal.status] + head % request_id.encode() + length + body)
        self._linger(lingers)

    def _note_refusal(self, scope: Scope, refusal: Refusal) -> str:
        """Have a refusal logged and counted, once; return the request id of its log line."""
        is_served = "exchange" in scope  # then its own end is logged, with this status
        if not is_served:
            scope["exchange"] = Exchange(scope, _nothing_comes, _nothing_goes)
        exchange: Exchange = scope["exchange"]
        exchange.status = refusal.status
        exchange.record.error = refusal.code
        if not is_served:
            exchange.record.route = "refused"
            type(self).note(exchange)
        return exchange.request_id


def _refuse_long_head(received: bytearray, most: int) -> None:
    if received and b"\r\n" not in received:
        raise Refusal(414, f"The target of the request does not fit {most} bytes", "uri_too_long")
    raise Refusal(431, f"The head of the request is longer than {most} bytes", "head_too_large")


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
