"""The demand for a version that is loaded on demand; it is put away only when there is none."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Demand:
    """What is known of an archive of MODEL_ARCHIVES beside what is known of every version."""

    # Bytes that its worker is taken to need until one was measured.
    estimate: int
    # What its archive says; its handler says more once it was loaded.
    about: dict[str, Any] = field(default_factory=dict)
    # Whether an operator has said how many workers it has.
    is_fixed: bool = False
    # Requests that are being served, and those that wait for it to be loaded.
    users: int = 0
    waiting: int = 0
    # By the event loop's clock: when its last request ended, and when it was loaded.
    last_used: float = 0.0
    loaded_at: float = 0.0
    # Whether it takes no more requests, for another model needs its memory.
    is_leaving: bool = False
    loading: asyncio.Task[None] | None = None
    # Whether that waits for memory.
    lacks_memory: bool = False

    @property
    def is_wanted(self) -> bool:
        """Whether somebody is served by it, or is about to be."""
        return self.users > 0 or (self.waiting > 0 and not self.is_leaving)
