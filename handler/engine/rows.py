"""The rows of the model's next call, and how many consecutive steps it can compute."""

from __future__ import annotations

import numpy as np

from handler.engine.scheduler import Chunk, Scheduler
from handler.engine.step import Rows

# Random numbers and tokens of so many steps are kept for a call; time ends nearly all before.
AT_ONCE = 64


def num_foreseeable(chunks: list[Chunk], scheduler: Scheduler) -> int:
    """How many steps can follow each other; 1 where one has to be seen before the next begins."""
    if len(chunks) < len(scheduler.running) or (scheduler.waiting and scheduler.cache.num_free):
        return 1
    if any(chunk.count > 1 or not chunk.ends_tokens for chunk in chunks):
        return 1
    return min(AT_ONCE, *(chunk.sequence.num_foreseeable for chunk in chunks))


def rows_of(chunks: list[Chunk]) -> Rows:
    """What a step computes: int32 [count, 3] of token, slot and position."""
    rows = np.empty((sum(chunk.count for chunk in chunks), 3), np.int32)
    first = 0
    for chunk in chunks:
        sequence, end = chunk.sequence, first + chunk.count
        start = sequence.num_computed
        rows[first:end, 0] = sequence.tokens[start : start + chunk.count]
        rows[first:end, 1] = sequence.slot
        rows[first:end, 2] = range(start, start + chunk.count)
        first = end
    return rows
