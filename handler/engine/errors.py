"""What the engine reports. It knows no requests and no HTTP: its callers say what that means."""

from __future__ import annotations


class ModelError(Exception):
    """An archive that cannot be served; one line that says why."""


class GrammarError(Exception):
    """A grammar that cannot be followed; says why."""


class QueueFull(Exception):
    """More sequences are waiting than the queue may hold; says how many it takes."""
