"""The definition of a fault, and its context."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soak.questions import Question
from soak.service import Service

# How long the service may take to answer a stranger behind a fault.
CANARY_SECONDS = 90.0
CANARY = {"prompt": "Are you there?", "max_tokens": 1, "seed": 1}


class NotAsPromised(Exception):
    """The service answered a fault otherwise than its documentation says."""


class Redis:
    """A Redis of our own; it may be taken away and brought back."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Bring it (back)."""
        command = ["redis-server", "--port", str(self.port), "--save", "", "--bind", "127.0.0.1"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        """Take it away."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass
class Arena:
    """What faults act on.

    `disk`: a small file system that the service works in, if there is one; `known`: questions
    with their replies.
    """

    service: Service
    rng: random.Random
    disk: Path | None
    redis: Redis | None
    known: list[tuple[Question, Any]] = field(default_factory=list)

    def seconds_to_answer(self, since: float) -> float:
        """Ask until a short request is answered; return the seconds since then.

        Raises:
            NotAsPromised: It was refused, or never answered.
        """
        status, body = self.service.post("/v1/completions", CANARY, CANARY_SECONDS)
        if status != 200:
            raise NotAsPromised(f"a request sent behind it got {status}: {body[:200]!r}")
        return time.monotonic() - since


# Does it; returns the seconds until a request that came just then was answered, where that counts.
Act = Callable[[Arena], float | None]


@dataclass(frozen=True)
class Fault:
    """A kind of fault. `lacks`: why it cannot be done here, or nothing."""

    name: str
    purpose: str
    act: Act
    lacks: Callable[[Arena], str] = lambda _: ""
