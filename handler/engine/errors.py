"""The engine's errors. They know no requests and no HTTP: callers say what they mean."""

from __future__ import annotations


class ModelError(Exception):
    """An archive that cannot be served; one line that says why."""


class GrammarError(Exception):
    """A grammar that cannot be followed; says why."""


class QueueFull(Exception):
    """More sequences are waiting than the queue may hold; says how many it takes."""
