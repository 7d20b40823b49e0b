"""Frames are taken out of a stream however TorchServe's pieces are cut."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.flow_control import FlowControl

from gateway.proxy.relay import Relay
from gateway.replicas.in_flight import InFlight
from gateway.torchserve.connection import Connection
from gateway.web.exchange import Exchange
from handler.content.json_text import to_json
from handler.replies import sideband

END = {"usage": {"prompt_tokens": 1}, "finish_reasons": ["length"], "error": None}
texts = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=6)
cuts = st.lists(st.integers(0, 400), max_size=12)


@dataclass
class Client:
    transport: asyncio.Transport
    flow: FlowControl

    def write(self, data: bytes) -> None:
        self.transport.write(data)


def written(parts: list[str]) -> tuple[bytes, bytes, bytes]:
    """A stream with frames, the events in it, and its last frame."""
    last = sideband.frame(sideband.fields(END))
    pairs = [
        (
            sideband.frame(sideband.of_choice(0, 0, [number], None, "")),
            f"data: {to_json({'t': text})}",
        )
        for number, text in enumerate(parts)
    ]
    pairs.append((last, "data: [DONE]"))
    stream = "".join(f"{frame}{event}\n\n" for frame, event in pairs)
    events = "".join(f"{event}\n\n" for _, event in pairs)
    return stream.encode(), events.encode(), last.encode()[1:-1]


def unchunked(body: bytes) -> bytes:
    found = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        found, body = found + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return found


Keep = Callable[[list[bytes], bytes], None]


async def passed_on(pieces: list[bytes], keep: Keep | None) -> tuple[bytes, Relay]:
    """What a client's socket receives of these pieces."""
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    scope: dict[str, Any] = {"method": "POST", "path": "/", "headers": [], "http_version": "1.1"}
    scope["extensions"] = {"gateway.connection": Client(transport, FlowControl(transport))}

    async def nothing(*_: Any) -> Any:
        return {}

    exchange = Exchange(scope, nothing, nothing)
    relay = Relay(exchange, InFlight(1), Connection(), 1.0, keep=keep)
    for piece in pieces:
        relay.take(piece)
    transport.close()
    received = b""
    while part := await asyncio.to_thread(theirs.recv, 65536):
        received += part
    theirs.close()
    return unchunked(received) + relay.last, relay


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in zip(edges, edges[1:], strict=False)]


@given(texts, cuts)
def test_a_client_gets_the_events_however_the_bytes_were_cut(
    parts: list[str], places: list[int]
) -> None:
    stream, events, last = written(parts)
    kept: list[bytes] = []
    received, relay = asyncio.run(
        passed_on(cut(stream, places), lambda frames, _: kept.extend(frames))
    )
    assert received == events
    assert kept[-1] == last
    assert relay.has_ended and json.loads(relay.frame) == json.loads(last) == END


@given(texts, cuts, st.integers(1, 60))
def test_a_stream_that_is_cut_ends_behind_a_whole_event(
    parts: list[str], places: list[int], missing: int
) -> None:
    stream, events, _ = written(parts)
    received, relay = asyncio.run(passed_on(cut(stream[:-missing], places), lambda *_: None))
    assert not relay.has_ended
    assert events.startswith(received) and (not received or received.endswith(b"\n\n"))


@given(cuts)
def test_a_stream_of_another_kind_of_model_stays_as_it_is(places: list[int]) -> None:
    stream = b"data: \x1e{\n\ndata: [DONE]\n\ndata: 1\n\ndata: [DONE]\n\n"
    received, relay = asyncio.run(passed_on(cut(stream, places), None))
    assert received == stream and relay.has_ended and relay.frame == b""
