"""Streams as they come over a real connection, also cut and broken ones."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from gpt2_client import (
    Client,
    FinishEvent,
    Retry,
    ServerError,
    StreamBroken,
    TextEvent,
    TimedOut,
    Timeout,
    Usage,
    UsageEvent,
)
from tests.client.scripted_server import END, USAGE, Answer, chunk, scripted
from tests.patience import PATIENCE

EVENTS = {"Content-Type": "text/event-stream"}


def test_text_comes_as_typed_events() -> None:
    pieces = [chunk(" once"), chunk(" more", finish="length"), USAGE, END]
    with scripted(Answer(pieces=pieces, headers=EVENTS)) as server, Client(server.url) as client:
        events = list(client.stream("Hello", max_tokens=2, seed=5))
    assert events == [
        TextEvent(0, " once"),
        TextEvent(0, " more"),
        FinishEvent(0, "length"),
        UsageEvent(Usage(2, 2, 4)),
    ]
    assert server.asked[0].body == {
        "prompt": "Hello",
        "seed": 5,
        "max_tokens": 2,
        "model": "gpt2",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_stream_cut_anywhere_by_the_network_reads_the_same(size: int) -> None:
    whole = chunk(" naïve 🦉") + chunk("", finish="stop").replace(b"\n", b"\r\n") + USAGE + END
    pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
    with scripted(Answer(pieces=pieces, headers=EVENTS)) as server, Client(server.url) as client:
        events = list(client.stream("Hello"))
    assert events[:2] == [TextEvent(0, " naïve 🦉"), FinishEvent(0, "stop")]


def test_a_busy_server_is_asked_again_before_the_stream_begins() -> None:
    with (
        scripted(Answer(503), Answer(pieces=[chunk("a", finish="stop"), END])) as server,
        Client(server.url, retries=Retry(first_wait=0.01)) as client,
    ):
        assert next(client.stream("Hello")) == TextEvent(0, "a")
    assert len(server.asked) == 2


@pytest.mark.parametrize("cut", [True, False], ids=["connection lost", "no [DONE]"])
def test_a_stream_of_a_model_that_is_not_told_is_not_sent_again_once_it_breaks(cut: bool) -> None:
    with (
        scripted(Answer(pieces=[chunk(" once")], cut=cut)) as server,
        Client(server.url) as client,
    ):
        stream = client.stream("Hello")
        assert next(stream) == TextEvent(0, " once")
        with pytest.raises(StreamBroken):
            next(stream)
    assert len(server.asked) == 1


def test_an_error_in_mid_stream_is_raised_with_its_words() -> None:
    failure = b'data: {"error": {"message": "worker lost", "type": "server_error"}}\n\n'
    with (
        scripted(Answer(pieces=[chunk("a"), failure, END])) as server,
        Client(server.url) as client,
        pytest.raises(ServerError, match="worker lost"),
    ):
        list(client.stream("Hello"))


def test_a_stream_that_falls_silent_ends_in_a_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def serve() -> None:
            with contextlib.ExitStack() as stack:
                while True:
                    connection = stack.enter_context(listener.accept()[0])
                    if done.is_set():
                        return
                    connection.recv(65536)
                    piece = chunk("a")
                    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        # On a machine that stands still for so long even the first piece is late: once more, then.
        for seconds in (1, 10, PATIENCE):
            with (
                Client(url, timeout=Timeout(read=seconds)) as client,
                contextlib.suppress(TimedOut),
                client.stream("Hello") as stream,
            ):
                assert next(stream) == TextEvent(0, "a")
                with pytest.raises(TimedOut):
                    next(stream)
                break
        else:
            pytest.fail("the first piece never came")
        done.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join()


def test_leaving_a_stream_hangs_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hung_up = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(PATIENCE)
                connection.recv(65536)
                piece = chunk("a")
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                try:
                    while connection.recv(65536):
                        pass
                except ConnectionResetError:
                    pass
                hung_up.set()

        thread = threading.Thread(target=serve)
        thread.start()
        with Client(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            with client.stream("Hello") as stream:
                next(stream)
            thread.join(PATIENCE)
            assert hung_up.is_set()
