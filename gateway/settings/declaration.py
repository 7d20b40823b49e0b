"""Declares a setting: its default, its description, and its allowed values."""

from __future__ import annotations

from dataclasses import field
from typing import TypeVar

Value = TypeVar("Value")


def setting(
    default: Value,
    about: str,
    *,
    least: float | None = None,
    most: float | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
) -> Value:
    """Declare one setting: its default, what it is for and what it may be."""
    declared = {"about": about, "least": least, "most": most, "choices": choices, "secret": secret}
    made: Value = field(default=default, metadata=declared)
    return made
