"""A row's logits are the same bits whoever else is in the step: each form, each kind of cache."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from archive.checkpoint import ModelShape
from archive.graph import build_graph
from archive.levels import Steps, count_in_levels
from archive.plan import Plan, product_names, uniform_plan
from archive.products import Form, Range
from tests.archive.checkpoints import random_weights
from tests.archive.slots import Slots

SHAPE = ModelShape(
    n_layer=2,
    n_head=4,
    n_embd=256,
    n_inner=1024,
    n_positions=600,
    vocab_size=997,
    layer_norm_epsilon=1e-5,
    tied_head=True,
    scale_attn_weights=True,
    scale_attn_by_inverse_layer_idx=False,
)
STEP = np.float32(3 / 127)  # of the cache of bytes
STEPS = [Steps(np.full(SHAPE.n_embd, STEP), STEP)] * SHAPE.n_layer
WEIGHTS = count_in_levels(SHAPE, random_weights(SHAPE), STEPS)
ROWS = 32


def plan_of(form: Form, cache: str) -> Plan:
    spans = {"mlp.c_proj": Range(-0.2, 4.0), "attn.c_proj": Range(-4.0 / STEP, 4.0 / STEP)}
    ranges = {
        name: spans.get(name.split(".", 2)[-1], Range(-4.0, 4.0)) for name in product_names(SHAPE)
    }
    plan = uniform_plan(SHAPE, form, ranges)
    return replace(plan, bytes_in_cache=cache == "int8")


def slots_of(form: Form, cache: str) -> Slots:
    return Slots(build_graph(SHAPE, WEIGHTS, plan_of(form, cache)), SHAPE, ROWS)


both_caches = pytest.mark.parametrize("cache", ["float32", "int8"])
every_form = pytest.mark.parametrize("form", list(Form), ids=lambda form: form.value)


@both_caches
@every_form
def test_a_decoded_row_is_the_same_alone_and_among_others(form: Form, cache: str) -> None:
    slots = slots_of(form, cache)
    generator = np.random.default_rng(2)
    lengths = np.concatenate(
        [[1, 2, 63, 64, 65, 127, 128, 129, 255, 256, 257, 512, 598], generator.integers(2, 590, 19)]
    )
    for slot, length in enumerate(lengths):
        slots.prefill(generator.integers(0, SHAPE.vocab_size, length), [], slot)
    tokens = generator.integers(0, SHAPE.vocab_size, (ROWS, 1))
    together = slots.run(tokens, lengths)
    for batch in (1, 2, 3, 5, 8, 17, 31):
        assert np.array_equal(slots.run(tokens[:batch], lengths[:batch]), together[:batch]), batch
    for slot in range(ROWS):
        alone = slots.run(tokens[slot : slot + 1], lengths[slot : slot + 1], slot)
        assert np.array_equal(alone[0], together[slot]), slot


@both_caches
@every_form
def test_a_prompt_is_the_same_whole_and_in_pieces(form: Form, cache: str) -> None:
    slots = slots_of(form, cache)
    prompt = np.random.default_rng(3).integers(0, SHAPE.vocab_size, 400)
    whole = slots.prefill(prompt, [])
    held = {name: array[0, :, :400].copy() for name, array in slots.slab.items()}
    for size in (2, 32, 128, 200):
        assert np.array_equal(slots.prefill(prompt, list(range(size, 400, size))), whole), size
        for name, array in slots.slab.items():
            assert np.array_equal(array[0, :, :400], held[name]), size


@every_form
def test_a_prompt_leaves_other_slots_and_positions_of_the_cache_alone(form: Form) -> None:
    slots = slots_of(form, "int8")
    for array in slots.slab.values():
        array[...] = 77
    slots.prefill(np.arange(100), [40], slot=3)
    for array in slots.slab.values():
        assert (array[3, :, :100] != 77).any()
        array[3, :, :100] = 77
        assert (array == 77).all()


@every_form
def test_decoding_after_bytes_written_by_a_prompt_or_by_decoding_agrees(form: Form) -> None:
    """Two kernels, one cache: what they write and read may differ by rounding, and no more."""
    slots = slots_of(form, "int8")
    prompt = np.random.default_rng(4).integers(0, SHAPE.vocab_size, 80)
    whole = slots.prefill(prompt, [])
    held = {name: array[0, :, :80].copy() for name, array in slots.slab.items()}
    stepwise = slots.prefill(prompt, list(range(1, 80)))
    assert np.abs(whole - stepwise).max() < 0.05 * np.abs(whole).max()
    for name, array in slots.slab.items():
        assert np.abs(array[0, :, :80].astype(int) - held[name]).max() <= 2


@every_form
def test_the_head_gives_a_row_the_same_logits_whichever_others_are_asked_for(form: Form) -> None:
    slots = slots_of(form, "float32")
    prompt = np.random.default_rng(5).integers(0, SHAPE.vocab_size, (1, 50))
    whole = slots.run(prompt, np.array([0]))
    for rows in ([49], [48, 49], list(range(10, 50)), [0, 30, 49]):
        assert np.array_equal(slots.run(prompt, np.array([0]), 0, np.array(rows)), whole[rows])


def test_seven_bit_weights_never_overflow_sixteen_bits() -> None:
    graph = build_graph(SHAPE, WEIGHTS, plan_of(Form.STATIC_7BIT, "float32"))
    weights = [
        np.frombuffer(tensor.raw_data, np.int8)
        for tensor in graph.graph.initializer
        if tensor.name.endswith("weight_q")
    ]
    assert len(weights) == len(product_names(SHAPE))
    assert max(int(np.abs(weight.astype(int)).max()) for weight in weights) == 63
    assert 255 * 63 * 2 < 2**15
