"""Who runs in the next step: waiting, prefilling in pieces, running.

Sequences are taken first come, first served. Running ones hold the slots 0 .. n - 1, so that a step
over them is one view of the slab. Knows no model and no text.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from handler.engine.kv_cache import KVCache
from handler.engine.sequence import Sequence, Status


class Scheduler:
    """The queue and the slots."""

    def __init__(self, cache: KVCache, *, keeps_decoded: bool = False) -> None:
        self.cache = cache
        self._keeps_decoded = keeps_decoded
        self.waiting: deque[Sequence] = deque()
        self.prefilling: deque[Sequence] = deque()
        self.running: list[Sequence] = []

    def __iter__(self) -> Iterator[Sequence]:
        """All live sequences."""
        yield from self.running
        yield from self.prefilling
        yield from self.waiting

    @property
    def num_live(self) -> int:
        """How many sequences are waiting or being written."""
        return len(self.waiting) + len(self.prefilling) + len(self.running)

    def add(self, sequence: Sequence) -> None:
        """Put a sequence at the end of the queue."""
        self.waiting.append(sequence)

    def admit(self) -> list[Sequence]:
        """Move sequences from the queue to slots, as far as slots and memory go.

        A sequence whose prompt is being prefilled by another one waits for that: it is then forked
        from it, or finds it in the cache.
        """
        admitted = []
        while self.waiting:
            sequence = self.waiting[0]
            if self._twin(sequence, self.prefilling) is not None:
                break
            preferred = len(self.running) + len(self.prefilling)
            if not self._acquire(sequence, preferred):
                break
            self.waiting.popleft()
            sequence.status = Status.PREFILLING
            self.prefilling.append(sequence)
            admitted.append(sequence)
        return admitted

    def catch_up(self, sequence: Sequence) -> None:
        """Before the first piece of a prompt: take over what others have read of it meanwhile."""
        if sequence.num_prefilled == sequence.num_cached and not sequence.options.prompt_logprobs:
            shared = self.cache.catch_up(sequence.slot, sequence.prompt)
            sequence.num_prefilled = sequence.num_cached = shared

    def start_running(self, sequence: Sequence) -> None:
        """The prompt is computed: from now on one token a step."""
        self.prefilling.remove(sequence)
        self._promote(sequence)

    def fork(self, source: Sequence) -> list[Sequence]:
        """Start the sequences at the head of the queue that have the same prompt as `source`.

        They take over its keys and values, as far as slots and memory go.
        """
        forked = []
        while self.waiting and self._twin(self.waiting[0], [source]) is not None:
            sequence = self.waiting[0]
            if not self._acquire(sequence, len(self.running), reuse=False):
                break
            self.waiting.popleft()
            self.cache.fork(source.slot, sequence.slot)
            sequence.num_prefilled = sequence.num_cached = len(sequence.prompt)
            sequence.prompt_logprobs = source.prompt_logprobs
            self._promote(sequence)
            forked.append(sequence)
        return forked

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, wherever it stands; its slot keeps what can be reused."""
        if sequence in self.running:
            last = self.running.pop()
            if last is not sequence:
                self.cache.swap(sequence.slot, last.slot)
                sequence.slot, last.slot = last.slot, sequence.slot
                self.running[last.slot] = last
        elif sequence in self.prefilling:
            self.prefilling.remove(sequence)
        else:
            self.waiting.remove(sequence)
        if sequence.slot >= 0:
            kept = sequence.tokens if self._keeps_decoded else None
            self.cache.free(sequence.slot, kept)
            sequence.slot = -1
        sequence.status = Status.FINISHED

    def clear(self) -> list[Sequence]:
        """Take out everything and forget all keys and values."""
        gone = list(self)
        self.waiting.clear()
        self.prefilling.clear()
        self.running.clear()
        for sequence in gone:
            sequence.slot = -1
        self.cache.clear()
        return gone

    def _acquire(self, sequence: Sequence, preferred: int, *, reuse: bool = True) -> bool:
        prompt = sequence.prompt
        if sequence.options.prompt_logprobs or not reuse:
            prompt = prompt[:0]  # every position needs its logits, or comes from a twin
        taken = self.cache.acquire(prompt, sequence.max_length, preferred)
        if taken is None:
            return False
        sequence.slot, shared = taken
        sequence.admitted_at = time.monotonic()
        sequence.num_prefilled = sequence.num_cached = shared
        return True

    def _promote(self, sequence: Sequence) -> None:
        """Move it to the slot behind the running ones, and whoever is there to where it was."""
        slot = len(self.running)
        for other in self.prefilling:
            if other.slot == slot:
                other.slot = sequence.slot
        self.cache.swap(sequence.slot, slot)
        sequence.slot = slot
        sequence.status = Status.RUNNING
        self.running.append(sequence)

    @staticmethod
    def _twin(sequence: Sequence, others: list[Sequence] | deque[Sequence]) -> Sequence | None:
        wanted = sequence.options
        for other in others:
            if len(other.prompt) != len(sequence.prompt):
                continue
            has_logprobs = not wanted.prompt_logprobs or (
                other.options.prompt_logprobs and other.options.logprobs == wanted.logprobs
            )
            if has_logprobs and (other.prompt == sequence.prompt).all():
                return other
        return None
