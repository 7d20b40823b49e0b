"""Sends what the grammar makes, and says what may not come of it."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time

from hypothesis import HealthCheck, given, seed, settings

from soak.doors.grammar import TALKS, End, Talk
from soak.doors.wire import Unsound, parse

# A server that has nothing to wait for any more has answered, or closed, by then.
ANSWER_SECONDS = 120.0
# Who waits is waited for only so long: the server may rightly wait for more.
WAIT_SECONDS = 0.05
# Talks that are drawn from one seed.
AT_ONCE = 200
# 500 is a fault that nobody thought of.
ALLOWED = frozenset(
    {
        *(100, 200, 204, 206, 304, 400, 401, 403, 404, 405, 408, 409, 411, 413, 414, 415, 416, 417),
        *(422, 429, 431, 501, 502, 503, 505),
    }
)


class Found(Exception):
    """Something that may not be."""


def talk(port: int, said: Talk) -> list[int]:
    """Send it; return the statuses of the replies.

    Raises:
        Found: The replies are unsound, one is a fault, or the connection hangs.
    """
    received, is_closed = _exchange(port, said)
    if said.end is not End.CLOSES_ITS_SIDE and not is_closed:
        return []  # it was cut in the midst
    try:
        replies = parse(received)
    except (Unsound, ValueError) as error:
        raise Found(f"{error}") from None
    statuses = [reply.status for reply in replies]
    wrong = [status for status in statuses if status not in ALLOWED]
    if wrong:
        raise Found(f"the status {wrong[0]}")
    return statuses


def _exchange(port: int, said: Talk) -> tuple[bytes, bool]:
    """Send the chunks; return what came, and whether the other side closed."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as made:
        with contextlib.suppress(ConnectionError):
            for chunk in said.chunks():
                made.sendall(chunk)
            if said.end is End.CLOSES_ITS_SIDE:
                made.shutdown(socket.SHUT_WR)
        if said.end is End.LEAVES:
            return b"", False
        if said.end is End.WAITS:
            made.settimeout(WAIT_SECONDS)
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            while chunk := made.recv(65536):
                received += chunk
                if time.monotonic() > deadline:
                    raise Found("it sends without end")
        except ConnectionError:
            if said.end is End.CLOSES_ITS_SIDE:
                raise Found(f"reset after {received[:100]!r}") from None
            return received, False
        except TimeoutError:
            if said.end is End.CLOSES_ITS_SIDE:
                raise Found(f"neither answered nor closed in {ANSWER_SECONDS:g} s") from None
            return received, False
    return received, True


def fuzz(port: int, seconds: float, seed_of_all: int) -> int:
    """Talk for so long; return how many connections were made.

    Raises:
        Found: Something may not be; with the shortest talk that shows it in its notes.
    """
    made = 0
    deadline = time.monotonic() + seconds

    def one(said: Talk) -> None:
        nonlocal made
        if time.monotonic() < deadline:
            made += 1
            talk(port, said)

    for batch in itertools.count():
        if time.monotonic() >= deadline:
            return made
        run = given(TALKS)(one)
        run = settings(
            max_examples=AT_ONCE,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )(run)
        seed(seed_of_all + batch)(run)()
    raise AssertionError
