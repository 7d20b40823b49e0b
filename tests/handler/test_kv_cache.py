"""Slots, memory and reuse, without a model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.engine.kv_cache import KVCache, KVSlab

LENGTH = 64


def cache(*, slots: int = 4, max_tokens: int = 4 * LENGTH) -> KVCache:
    slab = KVSlab(layers=1, slots=slots, heads=1, max_length=LENGTH, head_dim=16)
    return KVCache(slab, max_tokens=max_tokens)


def write(cache: KVCache, slot: int, prompt: np.ndarray, mark: float) -> None:
    cache.slab.keys[0][slot, :, : len(prompt)] = mark
    cache.advance(slot, len(prompt), prompt)


def test_a_freed_slot_is_found_again_by_its_beginning() -> None:
    kept = cache()
    prompt = np.arange(1, 21)
    slot, shared = kept.acquire(prompt, 30, 0) or (-1, -1)
    assert shared == 0
    write(kept, slot, prompt, 3.0)
    kept.free(slot)
    assert kept.acquire(np.append(prompt, 99), 30, 1) == (slot, 20)


def test_a_beginning_that_a_live_text_holds_is_copied() -> None:
    kept = cache()
    prompt = np.arange(1, 21)
    first, _ = kept.acquire(prompt, 30, 0) or (-1, -1)
    write(kept, first, prompt, 3.0)
    second, shared = kept.acquire(np.append(prompt[:11], 99), 30, 1) or (-1, -1)
    assert second != first
    assert shared == 10  # an even number, and the last token is left to compute
    assert (kept.slab.keys[0][second, :, :10] == 3.0).all()


def test_the_longest_unused_makes_room_first_and_reads_as_zeros() -> None:
    kept = cache(max_tokens=2 * LENGTH)
    for mark, start in enumerate((100, 200)):
        prompt = np.arange(start, start + LENGTH)
        slot, _ = kept.acquire(prompt, LENGTH, mark) or (-1, -1)
        write(kept, slot, prompt, 1.0 + mark)
        kept.free(slot)
    assert kept.acquire(np.arange(300, 310), LENGTH, 2) is not None
    assert kept.longest_prefix(np.arange(100, 164))[1] == 0
    assert kept.longest_prefix(np.arange(200, 264))[1] == LENGTH
    assert not kept.slab.keys[0][0].any()


def test_a_known_beginning_is_given_up_where_it_costs_more_than_there_is() -> None:
    kept = cache(max_tokens=LENGTH)
    prompt = np.arange(1, 1 + LENGTH)
    slot, _ = kept.acquire(prompt, LENGTH, 0) or (-1, -1)
    write(kept, slot, prompt, 1.0)
    kept.free(slot)
    assert kept.acquire(np.append(prompt[:10], 99), LENGTH, 1) is not None
    assert kept.taken <= LENGTH


def test_no_memory_means_waiting_until_a_text_ends() -> None:
    kept = cache(max_tokens=LENGTH)
    first, _ = kept.acquire(np.arange(1, 9), 40, 0) or (-1, -1)
    assert kept.acquire(np.arange(21, 29), 40, 1) is None
    kept.free(first)
    assert kept.acquire(np.arange(21, 29), 40, 1) is not None


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 60), st.integers(0, 40)), max_size=40),
    st.integers(LENGTH, 4 * LENGTH),
)
def test_memory_is_never_promised_twice_and_what_is_reused_is_right(
    requests: list[tuple[int, int, int]], max_tokens: int
) -> None:
    kept = cache(max_tokens=max_tokens)
    live: dict[int, np.ndarray] = {}  # by slot, as the scheduler keeps them: 0 .. n - 1

    def holds(slot: int) -> bool:
        prompt = live[slot]
        return bool((kept.slab.keys[0][slot, 0, : len(prompt), 0] == prompt + 1).all())

    for kind, length, more in requests:
        prompt = np.arange(length) + 1000 * kind
        found = kept.acquire(prompt, min(length + more, LENGTH), len(live))
        if found is None:
            assert live
            last, gone = len(live) - 1, length % len(live)
            kept.swap(gone, last)
            live[gone] = live[last]
            del live[last]
            kept.free(last)
        else:
            slot, shared = found
            assert slot not in live
            assert (kept.slab.keys[0][slot, 0, :shared, 0] == prompt[:shared] + 1).all()
            kept.slab.keys[0][slot, 0, shared:length, 0] = prompt[shared:] + 1
            kept.advance(slot, length, prompt)
            kept.swap(slot, len(live))
            live[len(live)] = prompt
        assert kept.taken <= kept.max_tokens
        assert all(holds(slot) for slot in live)


def test_a_short_text_in_the_place_of_a_long_one_gives_the_rest_back() -> None:
    # 1,024 positions of 64 bytes are 16 pages.
    slab = KVSlab(layers=1, slots=3, heads=2, max_length=1024, head_dim=16)
    kept = KVCache(slab, max_tokens=1100)
    long, short = np.arange(1000), np.arange(5000, 5064)
    for slot, prompt in enumerate((long, short)):
        assert kept.acquire(prompt, len(prompt), slot) == (slot, 0)
        slab.keys[0][slot, :, : len(prompt)] = 1.0 + slot
        kept.advance(slot, len(prompt), prompt)
    kept.swap(0, 1)
    kept.free(1)
    assert kept.taken <= 1100
    assert (slab.keys[0][0, :, :64] == 2.0).all()
    assert not slab.keys[0][0, :, 64:].any(), "the long text's memory is still held"
    assert kept.acquire(np.arange(8000, 9000), 1000, 1) is not None


def test_a_bound_below_one_text_is_refused() -> None:
    with pytest.raises(ValueError, match="less than one text"):
        cache(max_tokens=LENGTH - 1)


def test_what_another_slot_has_come_to_hold_is_taken_over() -> None:
    kept = cache()
    first, second = np.arange(1, 21), np.append(np.arange(1, 16), [99, 98])
    for slot, prompt in enumerate((first, second)):
        assert kept.acquire(prompt, 30, slot) == (slot, 0)
    assert kept.catch_up(1, second) == 0
    write(kept, 0, first, 3.0)
    assert kept.catch_up(1, second) == 14  # even
    assert (kept.slab.keys[0][1, :, :14] == 3.0).all()
    assert kept.catch_up(1, second) == 14


def test_two_slots_change_places_with_all_they_hold() -> None:
    kept = cache()
    prompts = np.arange(1, 9), np.arange(50, 75)
    for slot, prompt in enumerate(prompts):
        assert kept.acquire(prompt, 40, slot) == (slot, 0)
        write(kept, slot, prompt, 1.0 + slot)
    kept.swap(0, 1)
    assert (kept.slab.keys[0][0, :, :25] == 2.0).all()
    assert (kept.slab.keys[0][1, :, :8] == 1.0).all()
    assert kept.longest_prefix(prompts[1]) == (0, 25)


@pytest.mark.parametrize("length", [63, 64])
def test_memory_that_is_given_back_ends_at_the_neighbours_slot(length: int) -> None:
    slab = KVSlab(layers=1, slots=3, heads=3, max_length=length, head_dim=16)
    slab.keys[0][:] = 1.0
    slab.release(1)
    assert (slab.keys[0][0] == 1.0).all() and (slab.keys[0][2] == 1.0).all()
