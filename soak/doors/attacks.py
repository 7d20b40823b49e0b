"""One connection without a key that sends what never ends, and what it does to the gateway.

Run as a script it is the attacker: `attacks.py KIND PORT`, which begins anew when it is cut off and
gives way to others on the machine: what is measured is the gateway, not who gets the cores.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psutil

HEAD = b"POST /v1/tokenize HTTP/1.1\r\nhost: x\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
LAST = CHUNKED + b"1\r\nx\r\n0\r\n"
BLOCK = 1 << 16


def forever(first: bytes, block: bytes) -> Callable[[], Iterator[bytes]]:
    """Return what makes an attack of one beginning and endless equal blocks."""
    return lambda: itertools.chain([first], itertools.repeat(block))


def _trailers() -> Iterator[bytes]:
    yield LAST
    for number in itertools.count():
        yield b"".join(b"x-%d-%d: y\r\n" % (number, n) for n in range(4000))


ATTACKS: dict[str, Callable[[], Iterator[bytes]]] = {
    "trailers": _trailers,
    "one trailer's name": forever(LAST, b"x" * BLOCK),
    "one trailer's value": forever(LAST + b"x: ", b"y" * BLOCK),
    "one extension": forever(CHUNKED + b"1;a=", b"b" * BLOCK),
    "extensions of tiny chunks": forever(CHUNKED, b"1;a=bcdefghijklmnopqrstuvw\r\nx\r\n" * 2000),
    "zeros of a size": forever(CHUNKED, b"0" * BLOCK),
    "tiny chunks": forever(CHUNKED, b"1\r\nx\r\n" * 10_000),
    "a body": forever(CHUNKED, b"10000\r\n" + b"x" * 0x10000 + b"\r\n"),
    "one field": forever(HEAD + b"x: ", b"y" * BLOCK),
    "fields": forever(HEAD, b"x-field: y\r\n" * 5000),
    "a target": forever(b"GET /", b"x" * BLOCK),
    "empty lines": forever(b"", b"\r\n" * (BLOCK // 2)),
    "requests": forever(b"", b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n" * 1000),
    "a refused body": forever(
        b"POST /nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999999\r\n\r\n", b"x" * BLOCK
    ),
}


class AttackerFailed(Exception):
    """An attacker ended with an error: it found something, or its own fault."""


@dataclass(frozen=True)
class Harm:
    """What an attack did."""

    memory_mib: float
    cpu: float
    probe_p50_ms: float
    probe_max_ms: float
    probes_lost: int
    sent_mib: float
    cuts: int


class Prober:
    """An honest neighbour that asks for the health, each time on a new connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends = threading.Event()
        self.times: list[float] = []
        self.lost = 0
        self._thread = threading.Thread(target=self._probe)

    def __enter__(self) -> Prober:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _probe(self) -> None:
        while not self._ends.wait(0.02):
            began = time.perf_counter()
            try:
                made = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
                made.request("GET", "/health/live")
                assert made.getresponse().status == 200
                made.close()
            except (OSError, http.client.HTTPException, AssertionError):
                self.lost += 1
            self.times.append(time.perf_counter() - began)


def suffer(port: int, process: psutil.Process, kind: str, seconds: float) -> Harm:
    """Attack a gateway for so long, and measure it from outside."""
    command = [sys.executable, __file__, kind, str(port), str(seconds)]
    return measure(port, process, command)


def measure(port: int, process: psutil.Process, command: Sequence[str]) -> Harm:
    """Run an attacker that ends by itself and prints what it sent and how often it was cut."""
    before = process.memory_info().rss
    most = before
    cpu = _cpu_seconds(process)
    with Prober(port) as prober, subprocess.Popen(command, stdout=subprocess.PIPE) as attacker:
        began = time.monotonic()
        while attacker.poll() is None:
            most = max(most, process.memory_info().rss)
            time.sleep(0.01)
        took = time.monotonic() - began
        assert attacker.stdout is not None
        said = attacker.stdout.read().split()
    if attacker.returncode:
        raise AttackerFailed(" ".join(command))
    sent, cuts = map(int, said)
    return Harm(
        memory_mib=(most - before) / 2**20,
        cpu=(_cpu_seconds(process) - cpu) / took,
        probe_p50_ms=1000 * statistics.median(prober.times),
        probe_max_ms=1000 * max(prober.times),
        probes_lost=prober.lost,
        sent_mib=sent / 2**20,
        cuts=cuts,
    )


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _attack(kind: str, port: int, seconds: float) -> tuple[int, int]:
    """Return the bytes that were taken, and how often the connection was cut."""
    os.nice(19)
    deadline = time.monotonic() + seconds
    sent = cuts = 0
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as made:
            made.settimeout(max(0.01, deadline - time.monotonic()))
            for block in ATTACKS[kind]():
                if time.monotonic() > deadline:
                    return sent, cuts
                made.sendall(block)
                sent += len(block)
        cuts += 1
        time.sleep(0.01)
    return sent, cuts


if __name__ == "__main__":
    print(*_attack(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
