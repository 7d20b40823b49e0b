"""What happens when the server is busy, slow, wrong or away."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from email.utils import formatdate

import pytest

from gpt2_client import (
    BadReply,
    BadRequest,
    Client,
    RateLimited,
    Retry,
    ServerError,
    TimedOut,
    Timeout,
    Unauthorized,
    Unavailable,
    Unreachable,
)
from gpt2_client.retry import seconds_of
from tests.client.scripted_server import COMPLETION, Answer, scripted
from tests.patience import PATIENCE, wait_until


class Waits(list[float]):
    """Stands in for time.sleep, so that long waits can be tested in no time."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def impatient(waits: Waits, **kwargs: float) -> Retry:
    return Retry(sleep=waits, **kwargs)  # type: ignore[arg-type]


def error(message: str = "no", **fields: object) -> dict[str, object]:
    return {"error": {"message": message, "type": None, "param": None, "code": None} | fields}


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_until_it_answers(status: int) -> None:
    waits = Waits()
    with (
        scripted(*[Answer(status, error())] * 2, Answer(200, COMPLETION)) as server,
        Client(server.url, retries=impatient(waits)) as client,
    ):
        assert client.generate("Hello").text == " there"
    assert len(server.asked) == 3
    assert 0.1 <= waits[0] <= 0.25 <= waits[1] <= 0.5


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
def test_retry_after_is_honoured(as_date: bool) -> None:
    value = formatdate(time.time() + 7, usegmt=True) if as_date else "6"
    waits = Waits()
    with (
        scripted(Answer(429, error(), {"Retry-After": value}), Answer(200, COMPLETION)) as server,
        Client(server.url, retries=impatient(waits)) as client,
    ):
        client.generate("Hello")
    assert len(waits) == 1
    assert 5.0 <= waits[0] <= 8.0


def hang_up() -> None:
    raise ConnectionAbortedError("a scripted server that dies before it has answered")


LOST = [Answer(502, error("bad gateway")), Answer(pause=hang_up)]


@pytest.mark.parametrize("lost", LOST, ids=["502", "connection lost"])
def test_a_plain_request_is_sent_again_when_its_server_was_lost(lost: Answer) -> None:
    waits = Waits()
    with (
        scripted(lost, lost, Answer(200, COMPLETION)) as server,
        Client(server.url, retries=impatient(waits)) as client,
    ):
        assert client.generate("Hello", seed=7).text == " there"
    assert len(waits) == 2
    assert [asked.body["seed"] for asked in server.asked] == [7, 7, 7]


@pytest.mark.parametrize("lost", LOST, ids=["502", "connection lost"])
def test_what_only_asks_is_sent_again_when_its_server_was_lost(lost: Answer) -> None:
    status = {"modelName": "gpt2", "modelVersion": "1.0", "workers": []}
    replies = {"tokens": [1, 2], "text": "Hello"}
    with (
        scripted(*[lost, Answer(200, replies)] * 2, lost, Answer(200, [status])) as server,
        Client(server.url, retries=impatient(Waits())) as client,
    ):
        assert client.tokenize("Hello") == [1, 2]
        assert client.detokenize([1, 2]) == "Hello"
        assert client.describe()[0].version == "1.0"
    assert len(server.asked) == 6


@pytest.mark.parametrize("lost", LOST, ids=["502", "connection lost"])
@pytest.mark.parametrize("call", ["register", "unregister", "set_default", "scale"])
def test_a_change_is_not_sent_again_when_its_server_was_lost(call: str, lost: Answer) -> None:
    calls: dict[str, Callable[[Client], object]] = {
        "register": lambda client: client.register("gpt2.mar"),
        "unregister": lambda client: client.unregister("gpt2"),
        "set_default": lambda client: client.set_default("gpt2", "2.0"),
        "scale": lambda client: client.scale(2),
    }
    with (
        scripted(lost) as server,
        Client(server.url, retries=impatient(Waits())) as client,
        pytest.raises((ServerError, Unreachable)),
    ):
        calls[call](client)
    assert len(server.asked) == 1


def test_a_reply_that_had_begun_is_not_asked_for_again() -> None:
    with (
        scripted(Answer(200, pieces=[b'{"choices": ['], cut=True)) as server,
        Client(server.url, retries=impatient(Waits())) as client,
        pytest.raises(Unreachable, match="broke before the reply was complete"),
    ):
        client.generate("Hello")
    assert len(server.asked) == 1


def test_a_server_that_stays_lost_is_told_of_after_all_tries() -> None:
    with (
        scripted(*[Answer(pause=hang_up)] * 4) as server,
        Client(server.url, retries=impatient(Waits())) as client,
        pytest.raises(Unreachable, match="lost before a reply came"),
    ):
        client.generate("Hello")
    assert len(server.asked) == 4


def test_a_wait_longer_than_the_bound_is_told_at_once() -> None:
    waits = Waits()
    with (
        scripted(Answer(429, error("slow down"), {"Retry-After": "3600"})) as server,
        Client(server.url, retries=impatient(waits)) as client,
        pytest.raises(RateLimited, match="slow down") as caught,
    ):
        client.generate("Hello")
    assert caught.value.retry_after == 3600
    assert waits == []


def test_tries_are_bounded() -> None:
    waits = Waits()
    with (
        scripted(*[Answer(503, error("not ready"))] * 3) as server,
        Client(server.url, retries=impatient(waits, attempts=2)) as client,
        pytest.raises(Unavailable, match="not ready"),
    ):
        client.generate("Hello")
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, BadRequest), (401, Unauthorized), (413, BadRequest), (500, ServerError)],
)
def test_what_asking_again_cannot_mend_is_raised_at_once(
    status: int, kind: type[Exception]
) -> None:
    body = error("max_tokens must be 0 or more", param="max_tokens", code="out_of_range")
    with (
        scripted(Answer(status, body)) as server,
        Client(server.url) as client,
        pytest.raises(kind, match="max_tokens must be 0 or more") as caught,
    ):
        client.generate("Hello", max_tokens=-1)
    assert len(server.asked) == 1
    raised = caught.value
    assert isinstance(raised, kind)
    assert (raised.status, raised.param, raised.code) == (status, "max_tokens", "out_of_range")


def test_a_server_that_starts_late_is_reached() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    waits = Waits()

    def listen_when_asked(seconds: float) -> None:
        waits(seconds)
        if len(waits) == 2:
            thread.start()
            ready.wait(PATIENCE)

    ready = threading.Event()

    def serve() -> None:
        with socket.create_server(("127.0.0.1", port)) as listener:
            ready.set()
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                body = b'{"tokens": [1, 2], "texts": [], "count": 2}'
                head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                connection.sendall(head % len(body) + body)

    thread = threading.Thread(target=serve)
    with Client(f"http://127.0.0.1:{port}", retries=Retry(sleep=listen_when_asked)) as client:
        assert client.tokenize("Hello") == [1, 2]
    thread.join()
    assert len(waits) == 2


def test_a_server_that_is_away_is_named() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        with (
            Client(url, retries=impatient(Waits())) as client,
            pytest.raises(Unreachable, match="nothing listens at " + url),
        ):
            client.generate("Hello")


def test_a_silent_server_ends_in_a_time_out_and_is_not_asked_twice() -> None:
    release = threading.Event()
    with (
        scripted(
            Answer(200, COMPLETION, pause=lambda: bool(release.wait(PATIENCE)) and None)
        ) as server,
        Client(server.url, timeout=Timeout(read=0.2)) as client,
    ):
        with pytest.raises(TimedOut):
            client.generate("Hello")
        wait_until(lambda: bool(server.asked))
        release.set()
    assert len(server.asked) == 1


def test_an_error_inside_a_200_is_raised() -> None:
    """Bare TorchServe has sent its status before a text can fail."""
    with (
        scripted(Answer(200, error("the engine failed", type="server_error"))) as server,
        Client(server.url) as client,
        pytest.raises(ServerError, match="the engine failed"),
    ):
        client.generate("Hello")


def test_a_redirect_is_not_followed_with_the_key() -> None:
    with (
        scripted(Answer(307, headers={"Location": "http://elsewhere.example/"})) as server,
        Client(server.url, api_key="secret") as client,
        pytest.raises(BadReply, match=r"elsewhere\.example"),
    ):
        client.generate("Hello")


def test_another_service_at_the_address_is_noticed() -> None:
    with (
        scripted(Answer(200, {"hello": "world"})) as server,
        Client(server.url) as client,
        pytest.raises(BadReply),
    ):
        client.generate("Hello")


def test_each_key_goes_only_where_it_belongs() -> None:
    status = {"modelName": "gpt2", "modelVersion": "1.0", "workers": []}
    with (
        scripted(Answer(200, COMPLETION), Answer(200, [status])) as server,
        Client(server.url, api_key="writer", management_key="keeper") as client,
    ):
        client.generate("Hello")
        client.describe()
    keys = [asked.headers["authorization"] for asked in server.asked]
    assert keys == ["Bearer writer", "Bearer keeper"]


@pytest.mark.parametrize("text", ["soon", "-3", "", "Sun, 99 Foo 2026"])
def test_an_unreadable_retry_after_counts_as_none(text: str) -> None:
    assert seconds_of(text) is None
    assert seconds_of(None) is None
    assert seconds_of("Mon, 01 Jan 2001 00:00:00 GMT") == 0.0


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://host", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not an http"):
        Client(url)


@pytest.mark.parametrize("end", ["#", "/#text=Once", "?", "/v1?api-version=1", "/v1/#a?b"])
def test_an_address_copied_with_what_a_browser_adds_is_refused_with_the_one_meant(end: str) -> None:
    with pytest.raises(ValueError, match=r"did you mean http://host:8080\?"):
        Client(f"http://host:8080{end}")
