"""TCP ports on 127.0.0.1 that are free."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass

# Below those that the kernel gives out by itself.
WORKER_PORTS = range(10_000, 30_000, 100)
NEIGHBOURS = 32


@dataclass(frozen=True, slots=True)
class Ports:
    """Where TorchServe listens, on 127.0.0.1 alone."""

    inference: int
    management: int
    metrics: int
    grpc_inference: int
    grpc_management: int

    @classmethod
    def free(cls, inference: int = 0, management: int = 0, metrics: int = 0) -> Ports:
        """Return free ports, in place of each that is 0."""
        wanted = (inference, management, metrics, 0, 0)
        found = iter(free_ports(wanted.count(0)))
        return cls(*(port or next(found) for port in wanted))


def free_ports(count: int) -> list[int]:
    """Return ports that are free now; all are held until the last is known, so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return [int(held.getsockname()[1]) for held in sockets]


def free_worker_ports() -> int:
    """Return the first of some neighbouring ports that are free."""
    for first in sorted(WORKER_PORTS, key=lambda _: os.urandom(4)):
        if all(_is_free(port) for port in range(first, first + NEIGHBOURS)):
            return first
    return WORKER_PORTS[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
