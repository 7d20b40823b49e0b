"""The KV cache: which sequence holds which slot, and which tokens each slot contains.

Freed slots keep their contents until the room is needed, so that a prompt that begins like an
earlier one need not be computed again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from handler.engine.model import Buffer
from handler.engine.shared_bound import SharedBound
from handler.older_pythons import SLOTS

Tokens = npt.NDArray[np.int32]
NO_TOKENS: Tokens = np.empty(0, np.int32)


@dataclass(**SLOTS)
class Slot:
    """What one slot holds.

    Attributes:
        tokens: Those of positions that may be reused; generated ones only of a model whose bits do
            not depend on how a position was computed.
        length: Positions that hold data.
        touched: Positions whose memory was written since the last release.
        reserved: Positions that are promised to the sequence that owns it.
        last_used: Grows with every sequence that lets go of a slot.
    """

    tokens: Tokens = field(default_factory=lambda: NO_TOKENS)
    length: int = 0
    touched: int = 0
    reserved: int = 0
    last_used: int = 0

    @property
    def in_use(self) -> bool:
        """Whether a running sequence owns it."""
        return self.reserved > 0


class KVCache:
    """Who holds which slot, and how much memory all of them may take.

    Raises:
        ValueError: `max_tokens` positions are less than one sequence may need.
    """

    def __init__(
        self, buffer: Buffer, *, max_tokens: int, shared: SharedBound | None = None
    ) -> None:
        """Manage `buffer`.

        Args:
            buffer: The memory.
            max_tokens: Positions that may have memory at the same time.
            shared: What other workers leave of a bound that holds for all of them.
        """
        if shared is not None:
            max_tokens = min(max_tokens, shared.max_tokens)
        self.max_length = buffer.max_length
        if max_tokens < self.max_length:
            raise ValueError(
                f"{max_tokens} positions are less than one sequence of {self.max_length}"
            )
        self.buffer = buffer
        self.slots = [Slot() for _ in range(buffer.slots)]
        self.max_tokens = max_tokens
        self._clock = 0
        self._shared = shared
        # Whether a sequence waits for memory that other workers have.
        self._lacks = False
        # Positions that may have memory now.
        self._most = max_tokens

    @property
    def taken(self) -> int:
        """Positions that have memory or are promised it."""
        return sum(max(slot.touched, slot.reserved) for slot in self.slots)

    @property
    def usage(self) -> float:
        """Share of what can be held that running sequences own; what is only kept is free."""
        most = min(self.max_tokens, len(self.slots) * self.max_length)
        return sum(slot.reserved for slot in self.slots) / most

    @property
    def num_free(self) -> int:
        """Slots that no running sequence owns."""
        return sum(not slot.in_use for slot in self.slots)

    def longest_prefix(self, prompt: Tokens) -> tuple[int, int]:
        """The slot that begins most like the prompt, and how many tokens agree: (slot, length)."""
        best, best_length = -1, 0
        for index, slot in enumerate(self.slots):
            length = common_length(slot.tokens, prompt)
            if length > best_length:
                best, best_length = index, length
        return best, best_length

    @property
    def is_shared(self) -> bool:
        """Whether other workers may lack what this one keeps, or have what it lacks."""
        return self._shared is not None

    def acquire(self, prompt: Tokens, max_length: int) -> tuple[int, int] | None:
        """Take a free slot for a prompt, within the bound of all workers.

        Returns:
            As `_acquire`; None as well where other workers have the memory.
        """
        shared = self._shared
        if shared is None:
            return self._acquire(prompt, max_length)
        with shared.held():
            self._most = min(self.max_tokens, shared.tokens())
            acquired = self._acquire(prompt, max_length)
            self._lacks = acquired is None and self.num_free > 0
            shared.tell(self.taken, min(max_length, self.max_length) if self._lacks else 0)
        return acquired

    def give_back(self, *, is_wanted: bool) -> None:
        """Forget what is only kept, as far as other workers lack memory.

        Args:
            is_wanted: Whether a sequence waits here; else nothing is lacking either.
        """
        shared = self._shared
        if shared is None:
            return
        if self._lacks and not is_wanted:
            self._lacks = False
            shared.tell(self.taken)
        if not (missing := shared.missing(self.taken)):
            return
        with shared.held():
            most = self.taken - missing
            idle = [i for i, slot in enumerate(self.slots) if not slot.in_use and slot.touched]
            for index in sorted(idle, key=lambda i: self.slots[i].last_used):
                if self.taken > most:
                    self._forget(index)
            shared.tell(self.taken)

    def _acquire(self, prompt: Tokens, max_length: int) -> tuple[int, int] | None:
        """Take a free slot for a prompt.

        Args:
            prompt: int32 [tokens].
            max_length: Positions that it may come to need.

        Returns:
            The slot and how many positions of the prompt it holds already; None if there is no free
            slot, or no memory until a running sequence ends.
        """
        max_length = min(max_length, self.max_length)
        free = [i for i, slot in enumerate(self.slots) if not slot.in_use]
        if not free:
            return None
        source, shared = self._reusable(prompt)
        target = self._target(free, source, shared)
        needed = max_length - self.slots[target].touched
        if not self._make_room(needed, {target, source}):
            if source in (-1, target) or self.slots[source].in_use:
                return None
            source, shared = -1, 0  # keeping the known beginning would cost more than there is
            if not self._make_room(needed, {target}):
                return None
        if shared and source != target:
            self.buffer.copy(source, target, shared)
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
            self.buffer.copy(source, index, shared)
            self.advance(index, shared, prompt[:shared])
        return slot.length

    def _reusable(self, prompt: Tokens) -> tuple[int, int]:
        """The slot to copy the beginning of a prompt from, and its length; (-1, 0) if none.

        The last position is always left to compute, for its logits.
        """
        source, shared = self.longest_prefix(prompt)
        shared = max(min(shared, len(prompt) - 1), 0)
        return (source, shared) if shared else (-1, 0)

    def _target(self, free: list[int], source: int, shared: int) -> int:
        """Where to put it: in the slot with its prefix, unless that holds much more than that."""
        if source in free and 2 * shared >= len(self.slots[source].tokens):
            return source
        others = [i for i in free if i != source] or free
        return min(others, key=lambda i: (self.slots[i].last_used, i))

    def _make_room(self, needed: int, keep: set[int]) -> bool:
        """Make `needed` more positions fit, and say whether they do.

        Freed slots are forgotten, the longest unused first; then running sequences give back what
        longer ones have left in their slots.
        """
        idle = [i for i, s in enumerate(self.slots) if not s.in_use and s.touched and i not in keep]
        for index in sorted(idle, key=lambda i: self.slots[i].last_used):
            if self.taken + needed <= self._most:
                break
            self._forget(index)
        for index, slot in enumerate(self.slots):
            if self.taken + needed <= self._most:
                break
            if slot.in_use and slot.touched > slot.reserved:
                self._trim(index)
        return self.taken + needed <= self._most

    def _forget(self, index: int) -> None:
        self.buffer.release(index)
        self.slots[index] = Slot()

    def _trim(self, index: int) -> None:
        slot = self.slots[index]
        self.buffer.release(index, slot.length)
        slot.touched = slot.length

    def advance(self, index: int, length: int, tokens: Tokens) -> None:
        """Note that a slot now holds `length` positions, and which of them may be reused."""
        slot = self.slots[index]
        slot.length = length
        slot.touched = max(slot.touched, length)
        slot.tokens = tokens

    def fork(self, source: int, target: int) -> None:
        """Give one owned slot the contents of another."""
        held = self.slots[source]
        self.buffer.copy(source, target, held.length)
        self.advance(target, held.length, held.tokens)

    def free(self, index: int) -> None:
        """Let go of a slot; what may be reused stays."""
        self._clock += 1
        slot = self.slots[index]
        slot.reserved = 0
        slot.length = len(slot.tokens)
        slot.last_used = self._clock
        if self._shared is not None:
            self._shared.tell(self.taken)

    def clear(self) -> None:
        """Forget everything."""
        for index in range(len(self.slots)):
            self._forget(index)


def common_length(a: Tokens, b: Tokens) -> int:
    """How many tokens two sequences have in common at their beginning."""
    length = min(len(a), len(b))
    if length == 0 or a[0] != b[0]:
        return 0
    different = np.flatnonzero(a[:length] != b[:length])
    return int(different[0]) if len(different) else length
