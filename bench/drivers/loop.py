"""The protocol of all drivers: a JSON object a line in, one a line out. Standard library only.

It runs inside the peers' own environments, so it must not need any package.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol

Tokens = Sequence[int]


class Timeline:
    """When each token of each stream came, in seconds since the requests were handed over."""

    def __init__(self, streams: int) -> None:
        self.began = time.perf_counter()
        self.times: list[list[float]] = [[] for _ in range(streams)]

    def token(self, stream: int) -> None:
        """Note one token of a stream."""
        self.times[stream].append(time.perf_counter() - self.began)

    def tokens(self, streams: Sequence[int]) -> None:
        """Note one token of each of these streams, all at the same moment."""
        now = time.perf_counter() - self.began
        for stream in streams:
            self.times[stream].append(now)

    def result(self) -> dict[str, Any]:
        """Sum up: whole time, first tokens, and the stretch in which every stream was writing."""
        seconds = time.perf_counter() - self.began
        begin = max(times[0] for times in self.times)
        end = min(times[-1] for times in self.times)
        steady = sum(1 for times in self.times for moment in times if begin < moment <= end)
        return {
            "seconds": seconds,
            "tokens": sum(len(times) for times in self.times),
            "first": [times[0] for times in self.times],
            "steady_tokens": steady,
            "steady_seconds": max(0.0, end - begin),
        }


class Driver(Protocol):
    """What a system must be able to do. Greedy; an end-of-text token does not end a text."""

    def generate(self, prompts: list[list[int]], new_tokens: list[int]) -> dict[str, Any]:
        """Generate all completions, begun at the same moment; return `Timeline.result()`."""
        ...

    def negative_log_likelihood(self, window: list[int]) -> float:
        """Sum of -log p(token | those before it in the window), all but the first, in nats."""
        ...


def serve(driver_of: Any) -> None:
    """Answer requests until standard input ends. `driver_of(arguments)` makes the driver."""
    _die_with_parent()
    # Libraries print as they please; the protocol keeps the real standard output for itself.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    driver: Driver = driver_of(json.loads(sys.argv[1]))
    driver.generate([[5, 6]], [1])  # ready is who has written a token
    _say(channel, {"ready": True})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _answer(driver, request)
        except Exception as error:  # goes to whoever asked, who decides
            answer = {"error": f"{type(error).__name__}: {error}"}
        _say(channel, answer)


def _die_with_parent() -> None:
    """Linux: a driver that is frozen could not end by itself when the bench is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, linux/prctl.h


def _answer(driver: Driver, request: dict[str, Any]) -> dict[str, Any]:
    if request["op"] == "generate":
        return driver.generate(request["prompts"], request["new_tokens"])
    total = sum(driver.negative_log_likelihood(window) for window in request["windows"])
    return {"nll": total, "tokens": sum(len(window) - 1 for window in request["windows"])}


def _say(channel: Any, message: dict[str, Any]) -> None:
    channel.write(json.dumps(message) + "\n")
    channel.flush()
