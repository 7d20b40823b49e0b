"""TCP ports on 127.0.0.1 that are free.

None is of those that the kernel gives out by itself: whoever connects, or asks for any port, might
get it before it is listened on.
"""

from __future__ import annotations

import random
import secrets
import socket
from dataclasses import dataclass

# Of each hundred the first are for workers, which want neighbours, the others for all else.
HUNDREDS = range(10_000, 30_000, 100)
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
    """Return ports that are free now, drawn at random, so that two who ask at once differ.

    Raises:
        OSError: There are not so many.
    """
    found: list[int] = []
    drawn = random.SystemRandom().sample(HUNDREDS, len(HUNDREDS))
    for first in drawn:
        if len(found) == count:
            return found
        port = first + NEIGHBOURS + secrets.randbelow(100 - NEIGHBOURS)
        if _is_free(port):
            found.append(port)
    raise OSError("no TCP port on 127.0.0.1 is free")


def free_worker_ports() -> int:
    """Return the first of some neighbouring ports that are free."""
    for first in random.SystemRandom().sample(HUNDREDS, len(HUNDREDS)):
        if all(_is_free(port) for port in range(first, first + NEIGHBOURS)):
            return first
    return HUNDREDS[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
