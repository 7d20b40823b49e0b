"""Descriptions with `customized=true`, which TorchServe 0.12 repeats for ever."""

from __future__ import annotations

import sys
import time

PAUSE_SECONDS = 1.0
WARNING = (
    "TorchServe repeats a description with `customized=true` forever in continuous batching, and "
    "takes no prediction after it: unregister this model and register it again"
)


class Descriptions:
    """Knows a description that was answered already.

    In continuous batching TorchServe puts it back at the head of its queue, whatever the answer:
    the model is lost until it is registered anew. So it is said once, and asked once a second
    instead of thousands of times. Nobody waits for that: a description comes alone.
    """

    def __init__(self) -> None:
        self._latest = ""
        self._has_warned = False

    def is_repeated(self, request_id: str) -> bool:
        """Tell whether this one was answered already; waits before it says so."""
        if request_id != self._latest:
            self._latest = request_id
            return False
        if not self._has_warned:
            print(WARNING, file=sys.stderr, flush=True)
            self._has_warned = True
        time.sleep(PAUSE_SECONDS)
        return True
