"""Short requests that come at a steady rate, whatever becomes of those before."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator

from soak.asking import FAILED, HUNG, RIGHT, ask
from soak.questions import BEGINNINGS, COMPLETIONS, Question
from soak.replies import Broken

MOST_TOKENS = 8
STREAMED = 0.25


class Load:
    """So many clients that share one timetable; what is late is asked for as soon as one is free.

    Attributes:
        verdicts: How many requests ended how.
        failures: How many failed for which reason.
    """

    def __init__(self, port: int, *, rate: float, clients: int, seed: int) -> None:
        self._port = port
        self._rate = rate
        self._rng = random.Random(seed)
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._ends = threading.Event()
        self._began = time.monotonic()
        self.verdicts: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._go_on, daemon=True) for _ in range(clients)]

    @property
    def asked(self) -> int:
        """Requests that have ended, well or not."""
        return self.verdicts.total()

    def start(self) -> None:
        """Begin."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask nothing more, and wait for what is on its way."""
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _next(self) -> tuple[float, Question]:
        """The next request, and when it is due."""
        with self._lock:
            number = next(self._numbers)
            return self._began + number / self._rate, short_question(self._rng, number)

    def _go_on(self) -> None:
        for due, question in self._timetable():
            if self._ends.wait(max(0.0, due - time.monotonic())):
                return
            verdict, why = self._verdict(question)
            with self._lock:
                self.verdicts[verdict] += 1
                if why:
                    self.failures[why] += 1

    def _timetable(self) -> Iterator[tuple[float, Question]]:
        while not self._ends.is_set():
            yield self._next()

    def _verdict(self, question: Question) -> tuple[str, str]:
        try:
            ask(self._port, question)
        except TimeoutError:
            return HUNG, "nothing more came"
        except Broken as broken:
            return FAILED, str(broken)
        return RIGHT, ""


def short_question(rng: random.Random, number: int) -> Question:
    """A completion of a few tokens whose prompt was not asked for before."""
    body = {
        "prompt": f"{rng.choice(BEGINNINGS)}, chapter {number}",
        "max_tokens": rng.randint(1, MOST_TOKENS),
        "temperature": rng.choice([0, 1.0]),
        "seed": number,
    }
    if rng.random() < STREAMED:
        return Question("short, streamed", COMPLETIONS, body | {"stream": True})
    return Question("short", COMPLETIONS, body)
