"""Keys and values of all sequences: one slab of slots, and what each slot's tokens are.

A slot is one row of the batch. Freed slots keep their contents until the room is needed, so that a
prompt that begins like an earlier one need not be computed again.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int64]
NO_TOKENS: Tokens = np.empty(0, np.int64)


class Slab(Protocol):
    """Memory of slots, whoever lays it out. shape: (slots, heads, max_length, head_dim)."""

    shape: tuple[int, int, int, int]

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one position over all layers."""
        ...

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot to another."""
        ...

    def swap(self, a: int, b: int, length_a: int, length_b: int) -> None:
        """Exchange two slots of which only the first positions matter."""
        ...

    def release(self, slot: int, length: int = 0) -> None:
        """Give the memory of a slot back, but for its first `length` positions."""
        ...


class KVSlab:
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
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        self.shape = (slots, heads, max_length, head_dim)
        self.dtype = np.dtype(dtype)
        self._slot_bytes = heads * max_length * head_dim * self.dtype.itemsize
        size = slots * self._slot_bytes
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._maps = [mmap.mmap(-1, size, flags=flags) for _ in range(2 * layers)]
        arrays = [np.frombuffer(m, self.dtype).reshape(self.shape) for m in self._maps]
        self.keys = arrays[:layers]
        self.values = arrays[layers:]

    @property
    def bytes_per_token(self) -> int:
        """Bytes of one position over all layers."""
        _, heads, _, head_dim = self.shape
        return len(self._maps) * heads * head_dim * self.dtype.itemsize

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot to another."""
        for array in (*self.keys, *self.values):
            array[target, :, :length] = array[source, :, :length]

    def swap(self, a: int, b: int, length_a: int, length_b: int) -> None:
        """Exchange two slots of which only the first positions matter."""
        for array in (*self.keys, *self.values):
            held = array[a, :, :length_a].copy()
            array[a, :, :length_b] = array[b, :, :length_b]
            array[b, :, :length_a] = held

    def release(self, slot: int, length: int = 0) -> None:
        """Give the memory of a slot back to the system, but for its first `length` positions.

        Whole pages only; they read as zeros afterwards.
        """
        first, beyond = slot * self._slot_bytes, (slot + 1) * self._slot_bytes
        if length == 0:
            self._release(first, beyond)
            return
        _, heads, _, _ = self.shape
        head_bytes = self._slot_bytes // heads
        kept = length * self.shape[3] * self.dtype.itemsize
        for start in range(first, beyond, head_bytes):
            self._release(start + kept, start + head_bytes)

    def _release(self, start: int, end: int) -> None:
        page = mmap.PAGESIZE
        start, end = -(-start // page) * page, end // page * page
        if end > start:
            for memory in self._maps:
                memory.madvise(mmap.MADV_DONTNEED, start, end - start)


@dataclass(slots=True)
class Slot:
    """What one row of the slab holds.

    tokens: those of positions that may be reused; decoded ones only of a model whose bits do not
    depend on how a position was computed. length: positions that hold data. touched: positions
    whose memory was ever written since the last release.
    """

    tokens: Tokens = field(default_factory=lambda: NO_TOKENS)
    length: int = 0
    touched: int = 0
    reserved: int = 0
    last_used: int = 0

    @property
    def in_use(self) -> bool:
        """Whether a live sequence owns it."""
        return self.reserved > 0


class KVCache:
    """Who holds which slot, and how much memory all of them may take.

    Raises:
        ValueError: `max_tokens` positions are less than one text may need.
    """

    def __init__(self, slab: Slab, *, max_tokens: int, grain: int = 2) -> None:
        """Manage `slab`.

        Args:
            slab: The memory.
            max_tokens: Positions that may have memory at the same time.
            grain: What the length of a reused beginning is a multiple of.
        """
        slots, _, self.max_length, _ = slab.shape
        if max_tokens < self.max_length:
            raise ValueError(f"{max_tokens} positions are less than one text of {self.max_length}")
        self.slab = slab
        self.slots = [Slot() for _ in range(slots)]
        self.max_tokens = max_tokens
        self._grain = grain
        self._clock = 0

    @property
    def taken(self) -> int:
        """Positions that have memory or are promised it."""
        return sum(max(slot.touched, slot.reserved) for slot in self.slots)

    @property
    def num_free(self) -> int:
        """Slots that no live sequence owns."""
        return sum(not slot.in_use for slot in self.slots)

    def longest_prefix(self, prompt: Tokens) -> tuple[int, int]:
        """The slot that begins most like the prompt, and how many tokens agree: (slot, length)."""
        best, best_length = -1, 0
        for index, slot in enumerate(self.slots):
            length = _common_length(slot.tokens, prompt)
            if length > best_length:
                best, best_length = index, length
        return best, best_length

    def acquire(self, prompt: Tokens, max_length: int, preferred: int) -> tuple[int, int] | None:
        """Take a free slot for a prompt.

        Args:
            prompt: int64 [tokens].
            max_length: Positions that it may come to need.
            preferred: The slot that costs no move later, if it is no worse than another.

        Returns:
            The slot and how many positions of the prompt it holds already; None if there is no free
            slot, or no memory until a live sequence ends.
        """
        max_length = min(max_length, self.max_length)
        free = [i for i, slot in enumerate(self.slots) if not slot.in_use]
        if not free:
            return None
        source, shared = self._reusable(prompt)
        target = self._target(free, source, shared, preferred)
        needed = max_length - self.slots[target].touched
        if not self._make_room(needed, {target, source}):
            if source in (-1, target) or self.slots[source].in_use:
                return None
            source, shared = -1, 0  # keeping the known beginning would cost more than there is
            if not self._make_room(needed, {target}):
                return None
        if shared and source != target:
            self.slab.copy(source, target, shared)
        slot = self.slots[target]
        slot.tokens = prompt[:shared]
        slot.length = shared
        slot.reserved = max(max_length, 1)
        slot.touched = max(slot.touched, shared)
        return target, shared

    def catch_up(self, index: int, prompt: Tokens) -> int:
        """Copy what another slot has come to hold of a prompt since this one was acquired for it.

        Returns:
            How many positions of the prompt the slot holds now.
        """
        slot = self.slots[index]
        source, shared = self._reusable(prompt)
        if shared > slot.length:
            self.slab.copy(source, index, shared)
            self.advance(index, shared, prompt[:shared])
        return slot.length

    def _reusable(self, prompt: Tokens) -> tuple[int, int]:
        """The slot to copy the beginning of a prompt from, and its length; (-1, 0) if none.

        The last position is always left to prefill, for its logits; pieces may have to begin at
        even ones (see `OnnxModel.prefill`).
        """
        source, shared = self.longest_prefix(prompt)
        shared = max(min(shared, len(prompt) - 1), 0) // self._grain * self._grain
        return (source, shared) if shared else (-1, 0)

    def _target(self, free: list[int], source: int, shared: int, preferred: int) -> int:
        """Where to put it: in the slot with its prefix, unless that holds much more than that."""
        if source in free and 2 * shared >= len(self.slots[source].tokens):
            return source
        others = [i for i in free if i != source] or free
        return min(others, key=lambda i: (self.slots[i].last_used, i != preferred, i))

    def _make_room(self, needed: int, keep: set[int]) -> bool:
        """Make `needed` more positions fit, and say whether they do.

        Freed slots are forgotten, the longest unused first; then live texts give back what longer
        ones have left in their slots.
        """
        idle = [i for i, s in enumerate(self.slots) if not s.in_use and s.touched and i not in keep]
        for index in sorted(idle, key=lambda i: self.slots[i].last_used):
            if self.taken + needed <= self.max_tokens:
                break
            self._forget(index)
        for index, slot in enumerate(self.slots):
            if self.taken + needed <= self.max_tokens:
                break
            if slot.in_use and slot.touched > slot.reserved:
                self._trim(index)
        return self.taken + needed <= self.max_tokens

    def _forget(self, index: int) -> None:
        self.slab.release(index)
        self.slots[index] = Slot()

    def _trim(self, index: int) -> None:
        slot = self.slots[index]
        self.slab.release(index, slot.length)
        slot.touched = slot.length

    def advance(self, index: int, length: int, prefilled: Tokens | None = None) -> None:
        """Note that a slot now holds `length` positions (and which tokens, if prefilled)."""
        slot = self.slots[index]
        slot.length = length
        slot.touched = max(slot.touched, length)
        if prefilled is not None:
            slot.tokens = prefilled

    def fork(self, source: int, target: int) -> None:
        """Give one owned slot the contents of another."""
        held = self.slots[source]
        self.slab.copy(source, target, held.length)
        self.advance(target, held.length, held.tokens)

    def free(self, index: int, tokens: Tokens | None = None) -> None:
        """Let go of a slot; what was prefilled stays to be reused, with `tokens` all it holds."""
        self._clock += 1
        slot = self.slots[index]
        if tokens is not None:
            slot.tokens = tokens[: slot.length]
        slot.reserved = 0
        slot.length = len(slot.tokens)
        slot.last_used = self._clock

    def swap(self, a: int, b: int) -> None:
        """Exchange two slots; memory beyond their texts is given back where it gets scarce."""
        if a == b:
            return
        self.slab.swap(a, b, self.slots[a].length, self.slots[b].length)
        touched = self.slots[a].touched, self.slots[b].touched
        self.slots[a], self.slots[b] = self.slots[b], self.slots[a]
        for index, was in zip((a, b), touched, strict=True):
            self.slots[index].touched = max(was, self.slots[index].length)
        if self.taken > self.max_tokens:
            self._trim(a)
            self._trim(b)

    def clear(self) -> None:
        """Forget everything."""
        for index in range(len(self.slots)):
            self._forget(index)


def _common_length(a: Tokens, b: Tokens) -> int:
    length = min(len(a), len(b))
    if length == 0 or a[0] != b[0]:
        return 0
    different = np.flatnonzero(a[:length] != b[:length])
    return int(different[0]) if len(different) else length
