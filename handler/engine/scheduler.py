"""The scheduler: which sequences run in the next step, and how many tokens of each.

A step has a budget of tokens. Sequences with one token left to compute get that one; what remains
goes to prompts, in the order in which they came. Knows no model and no text.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile

from handler.engine.kv_cache import KVCache, common_length
from handler.engine.sequence import Sequence
from handler.older_pythons import SLOTS

# Tokens for which a prompt waits a step, so as not to compute them a second time.
WORTH_WAITING = 16
# Positions that sequences take over from others before one step: everybody waits for the copies.
COPIED_AT_ONCE = 1024


@dataclass(**SLOTS)
class Chunk:
    """Tokens of a sequence that a step computes: from its first uncomputed one, `count` of them.

    `forks` have the same prompt, take over its keys and values, and begin with it.
    """

    sequence: Sequence
    count: int
    forks: list[Sequence] = field(default_factory=list)

    @property
    def ends_tokens(self) -> bool:
        """Whether the last token of the sequence is among them, so that another may follow."""
        return self.sequence.num_uncomputed == self.count


class Scheduler:
    """The queue and the slots."""

    def __init__(self, cache: KVCache, max_tokens: int, *, is_exact: bool = True) -> None:
        """Schedule over `cache`.

        Args:
            cache: The slots.
            max_tokens: Tokens of a step, at most; more than there are slots.
            is_exact: Whether positions that were generated may be reused.
        """
        self.cache = cache
        self._max_tokens = max_tokens
        self._is_exact = is_exact
        self._to_copy = COPIED_AT_ONCE
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []

    def __iter__(self) -> Iterator[Sequence]:
        """All sequences that have not ended."""
        yield from self.running
        yield from self.waiting

    def __len__(self) -> int:
        """How many sequences have not ended."""
        return len(self.waiting) + len(self.running)

    def add(self, sequence: Sequence) -> None:
        """Put a sequence at the end of the queue."""
        self.waiting.append(sequence)

    def schedule(self) -> list[Chunk]:
        """Choose what the next step computes; sequences are admitted to slots as far as they go."""
        self._to_copy = COPIED_AT_ONCE
        self._admit()
        chunks, long = [], []
        for sequence in self.running:
            if sequence.num_uncomputed == 1:
                chunks.append(Chunk(sequence, 1))
            else:
                long.append(sequence)
        budget = self._max_tokens - len(chunks)
        for sequence in long:
            if budget <= 0:
                break
            self._catch_up(sequence)
            if _is_computed_for_another(sequence, chunks):
                continue
            cost = sequence.token_cost
            count = min(sequence.num_uncomputed, max(1, budget // cost))
            budget -= cost * count
            chunks.append(Chunk(sequence, count))
        for chunk in chunks:
            if chunk.ends_tokens and not chunk.sequence.generated:
                chunk.forks = self._admit_forks(chunk.sequence)
        return chunks

    def advance(self, chunk: Chunk) -> None:
        """Note that a chunk was computed, and give its forks what they take over."""
        source = chunk.sequence
        source.num_computed += chunk.count
        reusable = source.num_computed
        if not self._is_exact:
            reusable = min(reusable, len(source.prompt))
        self.cache.advance(source.slot, source.num_computed, source.tokens[:reusable])
        for fork in chunk.forks:
            self.cache.fork(source.slot, fork.slot)
            fork.num_computed = fork.num_cached = source.num_computed
            fork.prompt_logprobs, fork.pool = source.prompt_logprobs, source.pool

    def remove(self, sequence: Sequence) -> None:
        """Take a sequence out, wherever it stands; its slot keeps what can be reused."""
        if sequence.slot < 0:
            self.waiting.remove(sequence)
            return
        self.running.remove(sequence)
        self.cache.free(sequence.slot)
        sequence.slot = -1

    def clear(self) -> list[Sequence]:
        """Take out everything and forget all keys and values."""
        gone = list(self)
        self.waiting.clear()
        self.running.clear()
        for sequence in gone:
            sequence.slot = -1
        self.cache.clear()
        return gone

    def _admit(self) -> None:
        """Move sequences from the queue to slots, as far as slots, memory and copies go.

        A sequence whose prompt is being computed for another one waits for that: it is then forked
        from it, or finds it in the cache.
        """
        while self.waiting and self._to_copy > 0:
            sequence = self.waiting[0]
            if any(
                _shares_prompt(sequence, other) for other in self.running if not other.generated
            ):
                break
            if not self._acquire(sequence):
                break

    def _admit_forks(self, source: Sequence) -> list[Sequence]:
        """Admit those that have the same prompt.

        Where copies would take too long, the rest finds all but the last position in the cache
        later: it gives the same bits, if any position does wherever it is computed.
        """
        forks: list[Sequence] = []
        may_wait = self._is_exact and source.pool is None
        while self.waiting and _shares_prompt(self.waiting[0], source):
            if may_wait and self._to_copy <= 0:
                for sequence in takewhile(lambda s: _shares_prompt(s, source), self.waiting):
                    sequence.inherit_scores(source)
                break
            sequence = self.waiting[0]
            if not self._acquire(sequence, reuse=False):
                break
            forks.append(sequence)
            self._to_copy -= len(source.tokens)
        return forks

    def _acquire(self, sequence: Sequence, *, reuse: bool = True) -> bool:
        """Move the first sequence of the queue to a slot; says whether there was one."""
        # Every position that is scored needs its logits, and one that is pooled its state.
        may_reuse = reuse and not sequence.reads_all
        known = sequence.tokens if may_reuse else sequence.tokens[:0]
        taken = self.cache.acquire(known, sequence.max_length)
        if taken is None:
            return False
        sequence.slot, shared = taken
        sequence.admitted_at = time.monotonic()
        sequence.num_computed = sequence.num_cached = shared
        self._to_copy -= shared
        self.waiting.popleft()
        self.running.append(sequence)
        return True

    def _catch_up(self, sequence: Sequence) -> None:
        """Before the first chunk of a prompt: take over what others have computed of it since."""
        is_begun = sequence.num_computed > sequence.num_cached
        if not is_begun and not sequence.reads_all:
            shared = self.cache.catch_up(sequence.slot, sequence.tokens)
            sequence.num_computed = sequence.num_cached = shared


def _is_computed_for_another(sequence: Sequence, chunks: list[Chunk]) -> bool:
    """Whether a step computes what a sequence that has not begun could take over after it."""
    if sequence.num_computed > sequence.num_cached or sequence.reads_all:
        return False
    for chunk in chunks:
        other = chunk.sequence
        coming = other.tokens[: other.num_computed + chunk.count]
        if common_length(sequence.tokens, coming) >= sequence.num_computed + WORTH_WAITING:
            return True
    return False


def _shares_prompt(sequence: Sequence, other: Sequence) -> bool:
    """Whether a sequence can be forked from another once that one's prompt is computed."""
    wanted, given = sequence.options, other.options
    if wanted.prompt_logprobs and not (
        given.prompt_logprobs and given.prompt_top == wanted.prompt_top
    ):
        return False
    if wanted.pooling and wanted.pooling != given.pooling:
        return False
    mine, its = sequence.tokens, other.tokens
    return len(mine) == len(its) and bool((mine == its).all())
