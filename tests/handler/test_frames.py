"""What TorchServe's worker reads is what Java sent, however it came."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator

import pytest
from ts.protocol import otf_message_handler as protocol

from handler.torchserve.frames import FrameReader, read_ahead


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("seed", range(5))
def test_pieces_of_any_size_are_put_together(
    pair: tuple[socket.socket, socket.socket], seed: int
) -> None:
    ours, theirs = pair
    chance = random.Random(seed)
    sent = chance.randbytes(400_000)

    def send() -> None:
        at = 0
        while at < len(sent):
            size = chance.choice([1, 4, 36, 5000, 200_000])
            theirs.sendall(sent[at : at + size])
            at += size

    sender = threading.Thread(target=send)
    sender.start()
    read, took = FrameReader(), b""
    lengths = random.Random(seed + 100)
    while len(took) < len(sent):
        length = min(lengths.choice([0, 1, 4, 4, 36, 100_000]), len(sent) - len(took))
        part = read(ours, length)
        assert len(part) == length
        took += part
    sender.join()
    assert took == sent


def test_a_frontend_that_has_gone_ends_the_worker(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.sendall(b"half")
    theirs.close()
    with pytest.raises(SystemExit):
        FrameReader()(ours, 5)


def test_torchserves_protocol_reads_a_whole_message_in_one_go(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If TorchServe's own function were called otherwise, every number would be a call again."""
    monkeypatch.setattr(protocol, "_retrieve_buffer", protocol._retrieve_buffer)
    read_ahead()
    ours, theirs = pair
    number = lambda value: value.to_bytes(4, "big", signed=True)  # noqa: E731
    request = number(3) + b"abc" + number(-1) + number(-1)
    theirs.sendall(b"I" + request * 32 + number(-1))
    calls = 0

    class Counted:
        def recv(self, size: int) -> bytes:
            nonlocal calls
            calls += 1
            return ours.recv(size)

    command, message = protocol.retrieve_msg(Counted())
    assert command == b"I" and [part["requestId"] for part in message] == [b"abc"] * 32
    assert calls == 1
