"""Keys and values as `engine: torch` keeps them."""

from __future__ import annotations

import mmap

import numpy as np

FLOAT_BYTES = 4


class TorchBuffer:
    """Memory for keys and values: per layer one array [slots, heads, max_length, head_dim] each.

    Pages cost memory once they are written, and are given back by `release`.
    """

    def __init__(
        self,
        *,
        layers: int,
        slots: int,
        heads: int,
        max_length: int,
        head_dim: int,
    ) -> None:
        self.slots = slots
        self.max_length = max_length
        self._head_bytes = max_length * head_dim * FLOAT_BYTES
        self._slot_bytes = heads * self._head_bytes
        size = slots * self._slot_bytes
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._maps = [mmap.mmap(-1, size, flags=flags) for _ in range(2 * layers)]
        shape = (slots, heads, max_length, head_dim)
        arrays = [np.frombuffer(m, np.float32).reshape(shape) for m in self._maps]
        self.keys = arrays[:layers]
        self.values = arrays[layers:]

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one position over all layers."""
        return len(self._maps) * self._slot_bytes // self.max_length

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot to another."""
        for array in (*self.keys, *self.values):
            array[target, :, :length] = array[source, :, :length]

    def release(self, slot: int, length: int = 0) -> None:
        """Give the memory of a slot back to the system, but for its first `length` positions.

        Whole pages only; they read as zeros afterwards.
        """
        first, beyond = slot * self._slot_bytes, (slot + 1) * self._slot_bytes
        if length == 0:
            self._release(first, beyond)
            return
        kept = length * self._head_bytes // self.max_length
        for start in range(first, beyond, self._head_bytes):
            self._release(start + kept, start + self._head_bytes)

    def _release(self, start: int, end: int) -> None:
        page = mmap.PAGESIZE
        start, end = -(-start // page) * page, end // page * page
        if end > start:
            for memory in self._maps:
                memory.madvise(mmap.MADV_DONTNEED, start, end - start)
