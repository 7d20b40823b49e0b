"""Broken HTTP by a grammar: each connection is answered soundly or closed, and nobody minds."""

from __future__ import annotations

import itertools
import socket
import threading

import psutil
import pytest

from soak.doors.attacks import Prober
from soak.doors.fuzz import AT_ONCE, Found, fuzz, talk
from soak.doors.grammar import End, Talk
from soak.doors.wire import Unsound, parse
from tests.gateway.conftest import Service, StartStandIn, wait_until

SECONDS = 8
MOST_MIB = 64


@pytest.fixture(scope="module")
def guarded(start_stand_in: StartStandIn) -> Service:
    return start_stand_in()


def test_what_a_grammar_makes_of_http_harms_nobody(guarded: Service) -> None:
    process = psutil.Process(guarded.process.pid)
    fuzz(guarded.port, 1, seed_of_all=1)  # what is loaded on first use is no growth
    before = process.memory_info().rss
    made = 0
    with Prober(guarded.port) as prober:
        for number in itertools.count(2):
            made += fuzz(guarded.port, SECONDS, seed_of_all=AT_ONCE * number)
            if made > 50 and len(prober.times) > 10:
                break
    assert not prober.lost
    # What was in the midst is let go of.
    wait_until(lambda: (process.memory_info().rss - before) / 2**20 < MOST_MIB)
    assert guarded.get("/health/live").status_code == 200


@pytest.mark.parametrize(
    "received",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx",
        b"200 OK\r\n\r\n",
    ],
)
def test_a_reply_that_is_broken_is_found(received: bytes) -> None:
    with pytest.raises(Unsound):
        parse(received)


def test_a_talk_is_cut_where_it_says() -> None:
    said = Talk((b"abc", b"def"), (4, 1, 4), End.WAITS)
    assert said.chunks() == [b"a", b"bcd", b"ef"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello",
    ],
    ids=["a fault", "half a reply"],
)
def test_a_server_that_answers_wrongly_is_found_out(answer: bytes) -> None:
    said = Talk((b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",), (), End.CLOSES_ITS_SIDE)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with listening.accept()[0] as made:
                while made.recv(65536):
                    pass
                made.sendall(answer)

        serving = threading.Thread(target=serve)
        serving.start()
        with pytest.raises(Found):
            talk(listening.getsockname()[1], said)
        serving.join()
