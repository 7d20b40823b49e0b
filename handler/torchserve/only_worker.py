"""One worker of a model in a TorchServe: a second one ends, and says why.

In continuous batching a worker holds its model's lock in TorchServe while it waits for a step, so
that several of one model freeze each other's streams, for good.
"""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import time
from pathlib import Path

from handler.engine.errors import ModelError

# One that was ended or crashed is gone by then, and its place is free.
PATIENCE_SECONDS = 10.0
PAUSE_SECONDS = 0.2
JAVA = "java"


def claim(name: str, version: str) -> socket.socket | None:
    """Take the model's one place among the workers of this TorchServe, until the process ends.

    Returns what holds it; None where that cannot be known (no Linux, no Java above).

    Raises:
        ModelError: Another worker has it.
    """
    place = _place(name, version)
    if place is None:
        return None
    holder = socket.socket(socket.AF_UNIX)
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            holder.bind(place)
            return holder
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                holder.close()
                return None
        if time.monotonic() > end:
            holder.close()
            raise ModelError(
                f"another worker of {name} {version} is already serving, and several freeze each "
                "other's streams in continuous batching, so this one ends. One computes for all: "
                f"set it back with PUT /models/{name}?min_worker=1&max_worker=1"
            )
        time.sleep(PAUSE_SECONDS)


def _place(name: str, version: str) -> str | None:
    """A name without a file, which the kernel frees when its process ends, however it ends.

    Pods share such names among containers, so those count their processes apart.
    """
    parent = os.getppid()
    try:
        if Path(f"/proc/{parent}/comm").read_text().strip() != JAVA:
            return None
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        return None
    # At most 108 bytes; a model's name may be long.
    model = hashlib.sha256(f"{name}\0{version}".encode()).hexdigest()[:32]
    return f"\0gpt2-worker-{processes}-{parent}-{model}"
