"""The caches of several workers, which have one bound together."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.engine.errors import ModelError
from handler.engine.kv_cache import KVCache
from handler.engine.shared_bound import BYTES_VARIABLE, SharedBound
from tests.conftest import ROOT

LONGEST, SLOTS, BYTES = 32, 4, 10
WHOLE = LONGEST * BYTES


class Memory:
    """Holds nothing: who has which slot is all that counts."""

    slots, max_length, bytes_per_token = SLOTS, LONGEST, BYTES

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy nothing."""

    def release(self, slot: int, length: int = 0) -> None:
        """Give nothing back."""


def make(file: Path, most: int) -> KVCache:
    bound = SharedBound(file, most, BYTES, LONGEST)
    return KVCache(Memory(), max_tokens=10 * LONGEST, shared=bound)


def prompt(length: int, word: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.full(length, word, np.int32)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "end", "give back"]),
        st.integers(0, 2),
        st.integers(1, LONGEST),
        st.integers(0, 5),
    ),
    max_size=60,
)


@settings(max_examples=150)
@given(STEPS, st.integers(WHOLE, 4 * WHOLE))
def test_together_they_never_hold_more(steps: list[tuple[str, int, int, int]], most: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        caches = [make(Path(folder, "caches"), most) for _ in range(3)]
        held: list[list[int]] = [[], [], []]
        for kind, place, length, word in steps:
            cache, own = caches[place], held[place]
            if kind == "take":
                taken = cache.acquire(prompt(max(1, length // 2), word), length)
                if taken is not None:
                    own.append(taken[0])
                    cache.advance(taken[0], length, prompt(length, word))
            elif kind == "end" and own:
                cache.free(own.pop(word % len(own)))
            else:
                cache.give_back(is_wanted=False)
            assert BYTES * sum(each.taken for each in caches) <= most
        # Nobody waits for ever: once all have ended, each has room for a whole text in turn.
        for cache, own in zip(caches, held, strict=True):
            for slot in own:
                cache.free(slot)
            cache.give_back(is_wanted=False)
        for cache in caches:
            taken = cache.acquire(prompt(LONGEST - 1, 9), LONGEST)
            for other in caches:
                other.give_back(is_wanted=False) if other is not cache else None
            taken = taken or cache.acquire(prompt(LONGEST - 1, 9), LONGEST)
            assert taken is not None
            cache.free(taken[0])
            cache.give_back(is_wanted=False)


def test_who_lacks_memory_gets_an_equal_share(tmp_path: Path) -> None:
    first, second = (make(tmp_path / "caches", 2 * WHOLE) for _ in range(2))
    slots = [first.acquire(prompt(1, word), LONGEST) for word in (1, 2)]
    assert None not in slots and first.acquire(prompt(1, 3), LONGEST) is None
    assert second.acquire(prompt(1, 4), LONGEST) is None
    first.free(0)
    # What has ended is only kept, and the first may have it no more while the second waits.
    assert first.acquire(prompt(1, 5), LONGEST) is None
    first.give_back(is_wanted=True)
    assert second.acquire(prompt(1, 4), LONGEST) is not None


def test_what_a_worker_that_ended_had_is_free(tmp_path: Path) -> None:
    file = tmp_path / "caches"
    code = f"""
from pathlib import Path
from tests.handler.test_shared_bound import LONGEST, WHOLE, make, prompt
assert make(Path({str(file)!r}), WHOLE).acquire(prompt(1, 1), LONGEST)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert make(file, WHOLE).acquire(prompt(1, 1), LONGEST) is not None


def test_a_bound_that_holds_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=BYTES_VARIABLE):
        make(tmp_path / "caches", WHOLE - 1)
