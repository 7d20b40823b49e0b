"""One request and its reply on a client's connection: uvicorn's, with what HTTP/1.0 wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class Cycle(RequestResponseCycle):
    """Reads a body only once somebody wants it; can end a reply with the connection."""

    def __init__(
        self,
        *,
        wants_body: Callable[[], None],
        doubts: Callable[[Cycle], None],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._ask_for_body: Callable[[], None] | None = wants_body
        self._ends_with_connection = False
        self._doubt = doubts
        # Whether the client has closed its side, and whether somebody waits for it to leave.
        self._is_half_closed = False
        self._is_watched = False

    @property
    def is_body_wanted(self) -> bool:
        """Whether somebody reads the body: who is refused for another reason never does."""
        return self._ask_for_body is None

    def hear_the_end(self) -> None:
        """Note that the client has closed its side: it may have left."""
        self._is_half_closed = True
        if self._is_watched:
            self._doubt(self)

    async def receive(self) -> Any:
        """Return the next part of the body, or that the client has gone."""
        if self._ask_for_body is not None:
            ask, self._ask_for_body = self._ask_for_body, None
            ask()
        was_watched = self._is_watched
        self._is_watched = not self.more_body and not self.message_event.is_set()
        if self._is_half_closed and self._is_watched and not was_watched:
            self._doubt(self)
        return await super().receive()

    async def send(self, message: Any) -> None:
        """Send the head or a part of the reply."""
        if self.scope["http_version"] == "1.0":
            message = self._for_http_1_0(message)
        await super().send(message)

    def _for_http_1_0(self, message: Any) -> Any:
        """Chunks are unknown there: a reply of unknown length lasts as long as the connection."""
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            names = {name for name, _ in headers}
            if b"content-length" not in names:
                self._ends_with_connection = True
                self.chunked_encoding = self.keep_alive = False
            elif self.keep_alive and b"connection" not in names:
                headers.append((b"connection", b"keep-alive"))
                message = {**message, "headers": headers}
        elif self._ends_with_connection:
            self.expected_content_length = len(message.get("body", b""))
        return message
