"""One client's connection: uvicorn's, with its own reading of HTTP and bounds on all of it.

Requests of a connection are read one after the other, and a body only when it is wanted: what is
sent on top waits in the kernel, and what is refused is neither parsed nor kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.http.connection_limit import ConnectionLimit
from gateway.http.cycle import Cycle
from gateway.http.flow import Flow, bound_idle_reader
from gateway.http.framing import Framing, framing_of
from gateway.http.head import END, Head, Refusal, begin_of_head, check_start, read_head
from gateway.http.leaving import end_if_left
from gateway.http.linger import Linger
from gateway.http.listeners import unmapped
from gateway.http.refusals import TOO_SLOW, UNFINISHED, long_head, note_refusal, reply_to
from gateway.http.timer import Timer
from gateway.http.write_buffer import WriteBuffer
from gateway.settings import Settings
from gateway.web.exchange import Exchange


class Connection(HttpToolsProtocol):
    """Takes a client's requests; every byte of them counts."""

    settings: Settings
    limit: ConnectionLimit
    note: Callable[[Exchange], None]

    cycle: Cycle | None  # type: ignore[assignment]
    is_reserved = False
    _framing: Framing | None = None
    _is_half_closed = False
    _looked_at = 0
    # Whether a long body is read on soon, after what others want.
    _will_read = False
    _finding_out: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or close it where there are too many."""
        super().connection_made(transport)
        if self.client is not None:
            self.client = (unmapped(self.client[0]), self.client[1])
        self._received = bytearray()
        self._timer = Timer(self.loop)
        self._buffer = WriteBuffer(transport, self.loop)
        self._linger = Linger(transport, self._timer)
        self.flow = Flow(transport, self._holds_enough)
        if not self.limit.enter(self):
            transport.abort()
            return
        bound_idle_reader(transport, self.settings.write_seconds)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._timer.stop()
        self._unset_keepalive_if_required()
        self.limit.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, and read as far as it is wanted."""
        if self._linger.has_begun:
            self._linger.discard(len(data))
            return
        self._unset_keepalive_if_required()
        self._received += data
        self._read()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a client that has closed its side; return whether to stay open."""
        self._is_half_closed = True
        cycle = self.cycle
        if self._linger.has_begun:
            return False
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started:
                return False
            cycle.hear_the_end()
        self._read()
        return not self.transport.is_closing()

    # What a reply is written to: see Cycle.

    def hold(self) -> None:
        """Send what is written next with what follows it in this turn of the event loop."""
        self._buffer.hold()

    def write(self, data: bytes) -> None:
        """Send a part of a reply."""
        self._buffer.write(data)

    def is_closing(self) -> bool:
        """Return whether nothing can be written any more."""
        return self._linger.has_begun or bool(self.transport.is_closing())

    def close(self) -> None:
        """Close the connection behind a reply."""
        self._buffer.flush()
        if self._framing is not None or self._received:
            self._close_slowly(self.settings.linger_bytes)
        else:
            self.transport.close()

    def _close_slowly(self, most: int) -> None:
        """Close, but first let the client end what it is writing: at most so many bytes."""
        if self.is_closing():
            return
        self._buffer.flush()
        if self._is_half_closed:
            self.transport.close()
            return
        self._framing = None
        self._received.clear()
        self._linger.begin(most, self.settings.linger_seconds)
        self.flow.resume_reading()
        self.limit.waits(self)

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
        self.limit.waits(self)
        if self._received or self._is_half_closed:
            self._unset_keepalive_if_required()
            self._read()

    def _find_out_who_left(self, cycle: Cycle) -> None:
        """End a request whose client has closed its side, unless it is still there to read."""
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
        """Return whether more is to wait in the kernel."""
        held = len(self._received) + (len(self.cycle.body) if self.cycle else 0)
        return held > HIGH_WATER_LIMIT and not self._linger.has_begun

    def _read_some(self) -> bool:
        """Read the next part of a request; return whether there was one."""
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
        if not self._timer.is_running:
            self._begin_head()
        begin = begin_of_head(received)
        end = received.find(END, max(begin, self._looked_at - len(END)))
        size = len(received) if end < 0 else end + len(END)
        if size > most:
            raise long_head(received[begin:most], most)
        check_start(received, begin, self._looked_at, size)
        if end < 0:
            if self._is_half_closed:
                raise UNFINISHED
            self._looked_at = len(received)
            return False
        block = bytes(received[begin:size])
        del received[:size]
        self._looked_at = 0
        self._timer.stop()
        self._begin_request(read_head(block))
        return True

    def _begin_request(self, head: Head) -> None:
        self.limit.works(self)
        self.on_message_begin()
        scope: Any = self.scope
        scope["method"] = head.method
        scope["path"] = unquote(head.path.decode("ascii"))
        scope["raw_path"] = head.path
        scope["query_string"] = head.query
        scope["headers"] = head.fields
        scope["http_version"] = head.version
        # A stream's chunks are written to the connection itself: see gateway/proxy/relay.py.
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

    def _begin_head(self) -> None:
        self._timer.start(self.settings.header_seconds, lambda: self._refuse(TOO_SLOW))

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
        request_id = note_refusal(scope, refusal, type(self).note)
        self.write(reply_to(refusal, request_id))
        self._close_slowly(lingers)
