"""Clients that ask on and on, and judge each reply by the one that came when it was asked alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from soak import replies
from soak.questions import Question
from soak.replies import Broken

# Nothing for so long, and a request counts as hung.
HUNG_SECONDS = 120.0
RIGHT, WRONG, FAILED, HUNG = "right", "wrong", "failed", "hung"


@dataclass(frozen=True)
class Outcome:
    """How one request went. `at`: when it was sent, in seconds of the run."""

    kind: str
    at: float
    seconds: float
    verdict: str
    why: str = ""


def ask(port: int, question: Question) -> Any:
    """Ask a question; return what counts of its reply.

    Raises:
        Broken: A failure that a client sees.
        TimeoutError: Nothing came any more.
    """
    made = http.client.HTTPConnection("127.0.0.1", port, timeout=HUNG_SECONDS)
    with contextlib.closing(made):
        try:
            head = {"content-type": "application/json"}
            made.request("POST", question.path, json.dumps(question.body), head)
            reply = made.getresponse()
            body = reply.read()
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException) as error:
            raise Broken(f"the connection broke: {type(error).__name__}") from None
    if question.is_stream and reply.status == 200:
        return replies.stream(body)
    return replies.whole(reply.status, body)


class Clients:
    """So many at once, each with one request after the other."""

    def __init__(
        self,
        port: int,
        questions: Sequence[Question],
        references: Sequence[Any],
        *,
        count: int,
        most: int | None,
        seed: int,
    ) -> None:
        self._port = port
        self._asked = list(zip(questions, references, strict=True))
        self._left = most
        self._lock = threading.Lock()
        self._ends = threading.Event()
        self._began = time.monotonic()
        self.outcomes: list[Outcome] = []
        self._threads = [
            threading.Thread(target=self._go_on, args=(random.Random(seed + number),), daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """Begin."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    @property
    def are_done(self) -> bool:
        """Whether all that was to be asked was."""
        return self._left == 0

    def stop(self) -> None:
        """Ask nothing more, and wait for what is on its way."""
        self._ends.set()
        for thread in self._threads:
            thread.join(2 * HUNG_SECONDS)

    def _take(self) -> bool:
        with self._lock:
            if self._left is None:
                return True
            self._left = max(0, self._left - 1)
            return self._left > 0

    def _go_on(self, rng: random.Random) -> None:
        while not self._ends.is_set() and self._take():
            question, reference = rng.choice(self._asked)
            began = time.monotonic()
            verdict, why = _judged(self._port, question, reference)
            now = time.monotonic()
            at = began - self._began
            self.outcomes.append(Outcome(question.kind, at, now - began, verdict, why))


def _judged(port: int, question: Question, reference: Any) -> tuple[str, str]:
    try:
        found = ask(port, question)
    except TimeoutError:
        return HUNG, "nothing more came"
    except Broken as broken:
        return FAILED, str(broken)
    if found == reference:
        return RIGHT, ""
    return WRONG, f"{json.dumps(question.body)[:300]}: {_difference(reference, found)}"


def _difference(expected: Any, found: Any, path: str = "") -> str:
    """Where two replies differ first."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in expected.keys() | found.keys():
            if expected.get(name) != found.get(name):
                return _difference(expected.get(name), found.get(name), f"{path}.{name}")
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (one, other) in enumerate(zip(expected, found, strict=True)):
            if one != other:
                return _difference(one, other, f"{path}[{index}]")
    return f"{path}: expected {str(expected)[:150]!r}, got {str(found)[:150]!r}"
