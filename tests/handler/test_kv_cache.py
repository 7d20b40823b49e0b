"""Slots, memory and reuse, without a model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.engine.kv_cache import KVCache
from handler.engine.torch_buffer import TorchBuffer

LENGTH = 64


def cache(*, slots: int = 4, max_tokens: int = 4 * LENGTH) -> KVCache:
    buffer = TorchBuffer(layers=1, slots=slots, heads=1, max_length=LENGTH, head_dim=16)
    return KVCache(buffer, max_tokens=max_tokens)


def write(cache: KVCache, slot: int, prompt: np.ndarray, mark: float) -> None:
    cache.buffer.keys[0][slot, :, : len(prompt)] = mark
    cache.advance(slot, len(prompt), prompt)


def test_a_freed_slot_is_found_again_by_its_beginning() -> None:
    kept = cache()
    prompt = np.arange(1, 21)
    slot, shared = kept.acquire(prompt, 30) or (-1, -1)
    assert shared == 0
    write(kept, slot, prompt, 3.0)
    kept.free(slot)
    assert kept.acquire(np.append(prompt, 99), 30) == (slot, 20)


def test_a_beginning_that_a_live_text_holds_is_copied() -> None:
    kept = cache()
    prompt = np.arange(1, 21)
    first, _ = kept.acquire(prompt, 30) or (-1, -1)
    write(kept, first, prompt, 3.0)
    second, shared = kept.acquire(np.append(prompt[:11], 99), 30) or (-1, -1)
    assert second != first
    assert shared == 11
    assert (kept.buffer.keys[0][second, :, :11] == 3.0).all()


def test_the_longest_unused_makes_room_first_and_reads_as_zeros() -> None:
    kept = cache(max_tokens=2 * LENGTH)
    for mark, start in enumerate((100, 200)):
        prompt = np.arange(start, start + LENGTH)
        slot, _ = kept.acquire(prompt, LENGTH) or (-1, -1)
        write(kept, slot, prompt, 1.0 + mark)
        kept.free(slot)
    assert kept.acquire(np.arange(300, 310), LENGTH) is not None
    assert kept.longest_prefix(np.arange(100, 164))[1] == 0
    assert kept.longest_prefix(np.arange(200, 264))[1] == LENGTH
    assert not kept.buffer.keys[0][0].any()


def test_a_known_beginning_is_given_up_where_it_costs_more_than_there_is() -> None:
    kept = cache(max_tokens=LENGTH)
    prompt = np.arange(1, 1 + LENGTH)
    slot, _ = kept.acquire(prompt, LENGTH) or (-1, -1)
    write(kept, slot, prompt, 1.0)
    kept.free(slot)
    assert kept.acquire(np.append(prompt[:10], 99), LENGTH) is not None
    assert kept.taken <= LENGTH


def test_no_memory_means_waiting_until_a_text_ends() -> None:
    kept = cache(max_tokens=LENGTH)
    first, _ = kept.acquire(np.arange(1, 9), 40) or (-1, -1)
    assert kept.acquire(np.arange(21, 29), 40) is None
    kept.free(first)
    assert kept.acquire(np.arange(21, 29), 40) is not None


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 60), st.integers(0, 40)), max_size=40),
    st.integers(LENGTH, 4 * LENGTH),
)
def test_memory_is_never_promised_twice_and_what_is_reused_is_right(
    requests: list[tuple[int, int, int]], max_tokens: int
) -> None:
    kept = cache(max_tokens=max_tokens)
    live: dict[int, np.ndarray] = {}  # by slot

    def holds(slot: int) -> bool:
        prompt = live[slot]
        return bool((kept.buffer.keys[0][slot, 0, : len(prompt), 0] == prompt + 1).all())

    for kind, length, more in requests:
        prompt = np.arange(length) + 1000 * kind
        found = kept.acquire(prompt, min(length + more, LENGTH))
        if found is None:
            assert live
            gone = sorted(live)[length % len(live)]
            del live[gone]
            kept.free(gone)
        else:
            slot, shared = found
            assert slot not in live
            assert (kept.buffer.keys[0][slot, 0, :shared, 0] == prompt[:shared] + 1).all()
            kept.buffer.keys[0][slot, 0, shared:length, 0] = prompt[shared:] + 1
            kept.advance(slot, length, prompt)
            live[slot] = prompt
        assert kept.taken <= kept.max_tokens
        assert all(holds(slot) for slot in live)


def test_a_short_sequence_in_the_slot_of_a_long_one_gives_the_rest_back() -> None:
    # 1,024 positions of 64 bytes are 16 pages.
    buffer = TorchBuffer(layers=1, slots=2, heads=2, max_length=1024, head_dim=16)
    kept = KVCache(buffer, max_tokens=1100)
    long = np.arange(1000)
    assert kept.acquire(np.array([7777]), 10) == (0, 0)
    assert kept.acquire(long, 1000) == (1, 0)
    buffer.keys[0][1, :, :1000] = 1.0
    kept.advance(1, 1000, long)
    kept.free(1)
    assert kept.acquire(np.append(long[:64], 9999), 65) == (1, 64)
    kept.free(0)
    assert kept.acquire(np.arange(8000, 9000), 1000) == (0, 0)
    assert kept.taken <= 1100
    assert (buffer.keys[0][1, :, :64] == 1.0).all()
    assert not buffer.keys[0][1, :, 64:].any(), "the long one's memory is still held"


def test_a_bound_below_one_text_is_refused() -> None:
    with pytest.raises(ValueError, match="less than one sequence"):
        cache(max_tokens=LENGTH - 1)


def test_what_another_slot_has_come_to_hold_is_taken_over() -> None:
    kept = cache()
    first, second = np.arange(1, 21), np.append(np.arange(1, 16), [99, 98])
    for slot, prompt in enumerate((first, second)):
        assert kept.acquire(prompt, 30) == (slot, 0)
    assert kept.catch_up(1, second) == 0
    write(kept, 0, first, 3.0)
    assert kept.catch_up(1, second) == 15
    assert (kept.buffer.keys[0][1, :, :15] == 3.0).all()
    assert kept.catch_up(1, second) == 15


@pytest.mark.parametrize("length", [63, 64])
def test_memory_that_is_given_back_ends_at_the_neighbours_slot(length: int) -> None:
    buffer = TorchBuffer(layers=1, slots=3, heads=3, max_length=length, head_dim=16)
    buffer.keys[0][:] = 1.0
    buffer.release(1)
    assert (buffer.keys[0][0] == 1.0).all() and (buffer.keys[0][2] == 1.0).all()
