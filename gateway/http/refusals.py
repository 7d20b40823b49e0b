"""Replies that the server sends itself, in the application's place."""

from __future__ import annotations

from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from gateway.errors import error_body
from gateway.http.head import Refusal
from gateway.web.exchange import Exchange, Message, Scope

UNFINISHED = Refusal(400, "The request was not sent completely", "invalid_http")
TOO_SLOW = Refusal(408, "The head of the request took too long", "request_timeout")


def long_head(received: bytearray, most: int) -> Refusal:
    """Return the refusal of a head of more than `most` bytes."""
    if received and b"\r\n" not in received:
        return Refusal(
            414, f"The target of the request is longer than {most} bytes", "uri_too_long"
        )
    return Refusal(431, f"The head of the request is longer than {most} bytes", "head_too_large")


def reply_to(refusal: Refusal, request_id: str) -> bytes:
    """Return a refusal as it is sent; the connection closes behind it."""
    body = error_body(refusal.message, "invalid_request_error", None, refusal.code)
    head = b"content-type: application/json\r\nconnection: close\r\nx-request-id: %s\r\n"
    length = b"content-length: %d\r\n\r\n" % len(body)
    return bytes(STATUS_LINE[refusal.status]) + head % request_id.encode() + length + body


def note_refusal(scope: Scope, refusal: Refusal, note: Callable[[Exchange], None]) -> str:
    """Have a refusal logged and counted, once; return the request id of its log line."""
    is_served = "exchange" in scope  # then its own end is logged, with this status
    if not is_served:
        scope["exchange"] = Exchange(scope, _nothing_comes, _nothing_goes)
    exchange: Exchange = scope["exchange"]
    exchange.status = refusal.status
    exchange.record.error = refusal.code
    if not is_served:
        exchange.record.route = "refused"
        note(exchange)
    return exchange.request_id


async def _nothing_comes() -> Message:
    return {"type": "http.disconnect"}


async def _nothing_goes(message: Message) -> None:
    return None
