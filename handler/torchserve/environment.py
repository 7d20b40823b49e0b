"""Settings that the worker's environment holds."""

from __future__ import annotations

import os

from handler.engine.errors import ModelError


def overrides() -> dict[str, int]:
    """Settings of the engine that the environment names, which overrule the archive's."""
    overrides = {}
    if threads := whole_number("ENGINE_THREADS", 0):
        overrides["threads"] = threads
    if os.environ.get("STREAM_INTERVAL_MS"):
        overrides["stream_interval_ms"] = whole_number("STREAM_INTERVAL_MS", 0)
    return overrides


def switch(name: str) -> bool:
    """Whether a variable is on."""
    return os.environ.get(name, "").lower() in ("1", "true", "yes")


def whole_number(name: str, default: int) -> int:
    """A variable's number.

    Raises:
        ModelError: It is none.
    """
    value = os.environ.get(name) or str(default)
    if not value.isdigit():
        raise ModelError(f"{name} must be a whole number, not {value!r}")
    return int(value)
