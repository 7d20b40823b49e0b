"""The promise: prompt, options and seed decide the text, whoever else is being served.

Holds for what the native step computes; the torch reference makes no such promise.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handler.archive_facts import read_json
from handler.engine.model import ModelShape, load_model
from handler.engine.settings import EngineSettings
from tests.archive.checkpoints import write_checkpoint
from tests.conftest import EMBEDDED_VOCABULARY
from tests.handler.conftest import MakeRig
from tests.handler.engines import Rig, Text, packed

SLOTS = 8
requests = st.fixed_dictionaries(
    {
        "prompt_seed": st.integers(0, 5),
        "prompt_length": st.integers(1, 150),
        "max_tokens": st.integers(1, 25),
        "seed": st.integers(0, 3),
        "options": st.sampled_from(
            [
                {"temperature": 0.0},
                {"temperature": 1.0},
                {"temperature": 0.8, "top_p": 0.9, "repetition_penalty": 1.2},
                {"temperature": 1.2, "top_k": 40, "frequency_penalty": 0.5},
            ]
        ),
        "delay": st.integers(0, 20),
        "cancel_after": st.one_of(st.none(), st.integers(0, 20)),
    }
)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def rigs(request: pytest.FixtureRequest, archives: dict[str, Path]) -> Any:
    """Engines that are left busy, by the size of their pieces, and one asked for a text a time."""
    directory = archives[request.param]
    busy = {piece: Rig(directory, slots=SLOTS, prefill_piece=piece) for piece in (6, 16, 128)}
    calm = Rig(directory, slots=SLOTS)
    yield busy, calm
    for rig in (*busy.values(), calm):
        rig.close()


def prompt_of(case: dict[str, Any]) -> list[int]:
    # Few seeds, so that prompts share beginnings and the cache has something to reuse.
    return random.Random(case["prompt_seed"]).choices(range(1, EMBEDDED_VOCABULARY), k=150)[
        : case["prompt_length"]
    ]


def sequence_of(rig: Rig, case: dict[str, Any], request_id: str) -> Any:
    return rig.sequence(
        prompt_of(case),
        request_id=request_id,
        max_tokens=case["max_tokens"],
        seed=case["seed"],
        **case["options"],
        ignore_eos=True,
        logprobs=0,
    )


def signature(text: Text) -> tuple[str, list[float]]:
    """The text and, bit for bit, the log probability of each token."""
    return text.text, [entry.logprob.logprob for entry in text.logprobs if entry.logprob]


def test_joins_leaves_and_cancels_change_no_text(rigs: tuple[dict[int, Rig], Rig]) -> None:
    busy, calm = rigs
    reused = 0

    @settings(
        deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(cases=st.lists(requests, min_size=2, max_size=20), piece=st.sampled_from(sorted(busy)))
    def check(cases: list[dict[str, Any]], piece: int) -> None:
        nonlocal reused
        reused += sum(text.cached_tokens for text in compare(busy[piece], calm, cases))

    check()
    assert reused > 0, "nothing was reused, so nothing is known of reuse"


def compare(busy: Rig, calm: Rig, cases: list[dict[str, Any]]) -> list[Text]:
    """Write the cases together, and each alone: all that were not cancelled have to agree."""
    run = f"{random.random()}"
    texts = {number: Text() for number in range(len(cases))}
    cancelled: set[int] = set()
    step = 0
    while any(not t.is_finished for n, t in texts.items() if n not in cancelled):
        for number, case in enumerate(cases):
            if case["delay"] == step:
                busy.engine.submit([sequence_of(busy, case, f"{run}-{number}")])
            if case["cancel_after"] is not None and case["cancel_after"] + case["delay"] == step:
                busy.engine.cancel([f"{run}-{number}"])
                cancelled.add(number)
        for output in busy.engine.collect(timeout=0.05 if step <= 20 else 5):
            texts[int(output.request_id.rsplit("-", 1)[1])].add(output)
        step += 1
    for number, case in enumerate(cases):
        if number not in cancelled:
            # Alone, and with nothing in the cache that could be reused: the other one reuses much.
            calm.engine._scheduler.cache.clear()
            alone = calm.write(sequence_of(calm, case, "alone"))[0]
            assert alone.cached_tokens == 0
            assert signature(texts[number]) == signature(alone), case
    return list(texts.values())


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_a_text_among_31_others_is_the_same_as_alone(make_rig: MakeRig, kind: str) -> None:
    rig = make_rig(kind)
    prompts = [list(range(number + 1, number + 3 + 5 * number)) for number in range(32)]

    def sequence(number: int) -> Any:
        return rig.sequence(prompts[number], temperature=1.0, seed=number, logprobs=2,
                            max_tokens=50, ignore_eos=True)  # fmt: skip

    together = rig.write(*[sequence(number) for number in range(32)])
    assert max(rig.model.decode_batches) == 32
    for number in range(0, 32, 5):
        alone = rig.write(sequence(number))[0]
        assert signature(alone) == signature(together[number])


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_reuse_that_ends_in_what_was_written_changes_nothing(make_rig: MakeRig, kind: str) -> None:
    rig, fresh = make_rig(kind), make_rig(kind)
    prompt = list(range(30, 91))
    written = rig.write(rig.sequence(prompt, max_tokens=30, ignore_eos=True, logprobs=0))[0]
    tokens = [entry.token for entry in written.logprobs]
    for length in (1, 2, 17, 29):
        longer = [*prompt, *tokens[:length], 5]

        def sequence(of: Rig, longer: list[int] = longer) -> Any:
            return of.sequence(longer, max_tokens=10, ignore_eos=True, logprobs=0)

        again = rig.write(sequence(rig))[0]
        assert again.cached_tokens >= len(prompt) - 1
        assert signature(again) == signature(fresh.write(sequence(fresh))[0])


@pytest.mark.parametrize("kind", ["fp32", "int8"])
class TestLogitsBitwise:
    """The delicate cases, at the level of the model."""

    tokens = np.random.default_rng(0).integers(1, EMBEDDED_VOCABULARY, 199)

    @pytest.fixture
    def model(self, archives: dict[str, Path], kind: str) -> Any:
        from handler.archive_facts import read_json
        from handler.engine.model import ModelShape, load_model

        directory = archives[kind] / "model"
        shape = ModelShape.from_config(read_json(directory / "config.json"))
        return load_model(directory, shape, EngineSettings(slots=8, threads=2))

    @pytest.mark.parametrize("pieces", [[198, 1], [64, 64, 71], [2] * 99 + [1], [70, 129]])
    def test_pieces_of_any_size_give_the_same_logits(self, model: Any, pieces: list[int]) -> None:
        whole = model.prefill(0, self.tokens, 0, 1).copy()
        start = 0
        for count in pieces:
            last = model.prefill(1, self.tokens[start : start + count], start, 1)
            start += count
        assert np.array_equal(whole, last)

    def test_a_prompt_of_one_token_is_computed_as_the_first_of_many(self, model: Any) -> None:
        one = model.prefill(0, self.tokens[:1], 0, 1).copy()
        many = model.prefill(1, self.tokens[:9], 0, 9)
        assert np.array_equal(one[0], many[0])

    def test_asking_for_all_logits_gives_the_same_last_ones(self, model: Any) -> None:
        last = model.prefill(0, self.tokens, 0, 1).copy()
        every = model.prefill(1, self.tokens, 0, len(self.tokens))
        assert np.array_equal(last[0], every[-1])

    def test_a_batch_that_shrinks_to_one_row_changes_nothing(self, model: Any) -> None:
        lengths = np.array([50, 3, 120, 77, 9, 31, 64, 2])
        for slot, length in enumerate(lengths):
            model.prefill(slot, self.tokens[:length], 0, 1)
        newest = self.tokens[lengths]
        many = model.decode(newest, lengths).copy()
        for batch in (7, 4, 2, 1):
            fewer = model.decode(newest[:batch], lengths[:batch])
            assert np.array_equal(fewer, many[:batch]), batch

    def test_the_place_in_the_batch_changes_nothing(self, model: Any) -> None:
        for slot in (0, 5):
            model.prefill(slot, self.tokens[:40], 0, 1)
        for slot in (1, 2, 3, 4):
            model.prefill(slot, self.tokens[slot : 30 * slot], 0, 1)
        lengths = np.array([40, 29, 58, 87, 116, 40])
        logits = model.decode(self.tokens[lengths], lengths)
        assert np.array_equal(logits[0], logits[5])


def test_threads_beyond_the_heads_change_no_bit(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "checkpoint", n_head=1, n_embd=256, n_positions=600)
    archive = packed(tmp_path, "one-head", "--precision", "fp32", model=tmp_path / "checkpoint")
    shape = ModelShape.from_config(read_json(archive / "model" / "config.json"))
    model = load_model(archive / "model", shape, EngineSettings(slots=2, threads=2))
    prompt = np.random.default_rng(0).integers(1, EMBEDDED_VOCABULARY, 590)
    for slot in (0, 1):
        model.prefill(slot, prompt, 0, 1)
    tokens, lengths = np.array([5, 6]), np.array([590, 590])
    together = model.decode(tokens, lengths)[0].copy()
    assert np.array_equal(model.decode(tokens[:1], lengths[:1])[0], together)
