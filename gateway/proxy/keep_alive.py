"""Has the client of a silent stream hear something, so that no proxy on the way gives it up.

An event with empty text, of the shape that its route has (`handler/replies/keep_alive.py`), where
nothing was sent for a while: in the queue, before a long prompt, while another worker is waited
for. A stream that has not begun is begun for it; what goes wrong then is an event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from gateway.proxy.prediction import JSON_TYPE, Prediction
from gateway.proxy.replay import Replay
from gateway.proxy.reply import note_origin
from gateway.proxy.silence import Silent, read_silent
from gateway.web.exchange import Exchange
from handler.replies.sideband import Identity

# A turn of the clock may come this much too soon.
SLACK_SECONDS = 0.001


class KeepAlive:
    """Looks after one request for as long as it is served."""

    def __init__(
        self,
        exchange: Exchange,
        prediction: Prediction,
        card: dict[str, Any],
        identity: Identity,
        seconds: float,
    ) -> None:
        """Begin.

        Args:
            exchange: The client's.
            prediction: What it asks for, streamed or not: that is read when it matters.
            card: What the model says of itself; empty if it is of another kind.
            identity: What the reply is called.
            seconds: How long nothing may be sent; 0 is for ever.
        """
        self._exchange = exchange
        self._prediction = prediction
        self._card = card
        self._identity = identity
        self._seconds = seconds
        self._replay: Replay | None = None
        self._silent: Silent | None = None
        self._opening: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if seconds and card and prediction.writes and prediction.content_type == JSON_TYPE:
            self._wait(seconds)

    def follow(self, replay: Replay) -> None:
        """Note what knows which choices have ended."""
        self._replay = replay

    def close(self) -> None:
        """The request has ended, however it did."""
        if self._timer is not None:
            self._timer.cancel()
        if self._opening is not None:
            self._opening.cancel()

    def _wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds + SLACK_SECONDS, self._look)

    def _look(self) -> None:
        """Say something, if it is time; else come again when it may be."""
        exchange = self._exchange
        if exchange.has_ended or exchange.connection.transport.is_closing():
            return
        left = exchange.wrote_at + self._seconds - time.perf_counter()
        if left > 0:
            self._wait(left)
        elif self._silent is None or not exchange.streams:
            self._opening = asyncio.create_task(self._open())
        else:
            self._say(self._silent)
            self._wait(self._seconds)

    async def _open(self) -> None:
        """Read what is asked, and begin the stream if it has not begun.

        What will be refused is left alone: its refusal still has its status.
        """
        if self._silent is None:
            # Where pydantic is loaded, and long bodies are judged, is no turn of the event loop's.
            self._silent = await asyncio.to_thread(
                read_silent, self._prediction, self._card, self._identity
            )
        silent, exchange = self._silent, self._exchange
        if silent is None or (exchange.status and not exchange.streams):
            return
        if not exchange.streams:
            if silent.ignored_fields:
                header = (b"x-ignored-fields", silent.ignored_fields.encode())
                exchange.reply_headers.append(header)
            note_origin(exchange, self._card, silent.seed)
            exchange.record.stream = True
            await exchange.start_stream()
        self._say(silent)
        self._wait(self._seconds)

    def _say(self, silent: Silent) -> None:
        exchange = self._exchange
        # Who has not read what was sent already hears nothing by more of it.
        if exchange.has_ended or exchange.connection.flow.write_paused:
            return
        index = self._open_choice()
        if index is not None:
            exchange.write(silent.event(index).encode(), time.perf_counter())

    def _open_choice(self) -> int | None:
        """The first choice that has not ended; None if all have."""
        ended: Sequence[int] = self._replay.ended_choices if self._replay is not None else ()
        return next((i for i in range(self._prediction.sequences) if i not in ended), None)
