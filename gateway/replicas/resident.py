"""The memory of each version's workers: measured once loaded, estimated before."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.replicas.registry import Registry, Version
from gateway.replicas.replica import State

# A worker without a model: Python, NumPy, TorchServe's protocol, the tokenizer.
WORKER_BYTES = 64 << 20


class Resident:
    """The memory of all workers, and its bound."""

    def __init__(self, registry: Registry, bound: int) -> None:
        self._registry = registry
        # Bytes; 0 is none.
        self.bound = bound

    @staticmethod
    def estimate(size: int) -> int:
        """Return what a worker takes whose archive has `size` bytes, unpacked."""
        return WORKER_BYTES + size

    def measure(self) -> None:
        """Look at workers that were not measured yet, soon after they are ready.

        Later their caches hold keys and values, which have a bound of their own.
        """
        for _, _, known in self._registry.known():
            for replica in known.replicas:
                if not known.worker_bytes and replica.state is State.READY:
                    known.worker_bytes = resident_bytes(replica.worker)

    def bytes_of(self, known: Version) -> int:
        """Return what one worker of a version takes, or is taken to."""
        return known.worker_bytes or (known.demand.estimate if known.demand else WORKER_BYTES)

    @property
    def used(self) -> int:
        """What all workers take."""
        self.measure()
        versions = [known for _, _, known in self._registry.known()]
        return sum(len(known.replicas) * self.bytes_of(known) for known in versions)

    @property
    def loaded(self) -> int:
        """How many versions are loaded."""
        return sum(bool(known.replicas) for _, _, known in self._registry.known())

    def fixed(self) -> int:
        """What those take that are not put away."""
        versions = [known for _, _, known in self._registry.known() if not known.is_on_demand]
        return sum(len(known.replicas) * self.bytes_of(known) for known in versions)

    def over(self) -> int:
        """How far beyond the bound they are; 0 or less within it."""
        return self.used - self.bound if self.bound else 0

    def over_with(self, known: Version) -> int:
        """How far they would be with a version that is not loaded."""
        return self.over() + self.bytes_of(known) if self.bound else 0


def resident_bytes(process: int) -> int:
    """Bytes of memory that a process holds; 0 where the system does not say."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
