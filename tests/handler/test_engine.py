"""What the engine promises, whatever computes the model."""

from __future__ import annotations

import random
import time
from threading import Event

import pytest
import torch
from transformers import GPT2LMHeadModel

from handler.engine.errors import QueueFull
from tests.conftest import EMBEDDED_MODEL, EMBEDDED_VOCABULARY
from tests.handler.conftest import MakeRig
from tests.handler.engines import Rig, Text
from tests.patience import PATIENCE

FOREVER = 100 * PATIENCE

PROMPTS = [
    "Once upon a time",
    "The old captain looked at the sea and said that he would never go back to the island, because",
    "It",
    "In the middle of the forest stood a house,",
    "The",
    '"Where are you going?" asked the boy.',
]


@pytest.fixture(scope="module")
def reference() -> GPT2LMHeadModel:
    model = GPT2LMHeadModel.from_pretrained(EMBEDDED_MODEL, dtype=torch.float32)
    model.generation_config.repetition_penalty = 1.0
    return model.eval()


@pytest.mark.parametrize("kind", ["torch", "fp32"])
def test_greedy_texts_written_together_equal_transformers_generate(
    make_rig: MakeRig, kind: str, reference: GPT2LMHeadModel
) -> None:
    rig = make_rig(kind)
    texts = rig.write(*[rig.sequence(prompt, max_tokens=24) for prompt in PROMPTS])
    for prompt, text in zip(PROMPTS, texts, strict=True):
        ids = torch.tensor([rig.vocabulary.encode(prompt)])
        expected = reference.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=24
        )[0, ids.shape[1] :]
        assert text.text == rig.vocabulary.decode(expected.tolist())
    assert rig.model.most_at_once == len(PROMPTS)


def test_the_same_seed_gives_the_same_text_and_another_seed_another(rig: Rig) -> None:
    def text(seed: int) -> str:
        return rig.write(rig.sequence("The king", temperature=1.0, seed=seed))[0].text

    assert text(1) == text(1)
    assert len({text(seed) for seed in range(4)}) > 1


def test_a_text_ends_at_its_stop_string_and_does_not_show_it(rig: Rig) -> None:
    whole = rig.write(rig.sequence("Once upon a time", max_tokens=40))[0].text
    stop = whole[len(whole) // 2 :][:6]
    text = rig.write(rig.sequence("Once upon a time", max_tokens=40, stop=(stop,)))[0]
    assert text.text == whole[: whole.index(stop)]
    assert text.finish_reason == "stop"
    assert not any(stop[:1] == o.text[-1:] and o.finish_reason is None for o in text.outputs[-2:])


def test_texts_beyond_the_slots_wait_and_are_all_written(make_rig: MakeRig, kind: str) -> None:
    rig = make_rig(kind, slots=2)
    texts = rig.write(*[rig.sequence(prompt, max_tokens=5) for prompt in PROMPTS])
    assert [text.tokens for text in texts] == [5] * len(PROMPTS)
    assert rig.model.most_at_once == 2


def test_a_queue_that_is_full_refuses_and_serves_those_before(make_rig: MakeRig) -> None:
    rig = make_rig("fp32", slots=1, max_waiting=1)
    rig.engine.submit([rig.sequence("One", request_id="a")])
    rig.engine.submit([rig.sequence("Two", request_id="b")])
    with pytest.raises(QueueFull, match="the server takes 2"):
        rig.engine.submit([rig.sequence("Three", request_id="c")])
    assert all(text.finish_reason == "length" for text in rig.collect(["a", "b"]))


def test_the_place_of_a_text_that_nobody_waits_for_is_free_at_once(make_rig: MakeRig) -> None:
    rig = make_rig("fp32", slots=1, max_waiting=0)
    in_a_step, go_on = Event(), Event()

    def hold() -> None:
        if not rig.model.steps:
            return
        in_a_step.set()
        assert go_on.wait(PATIENCE)

    rig.model.before_step = hold
    rig.engine.submit([rig.sequence("One", request_id="gone", max_tokens=50)])
    rig.engine.collect(timeout=PATIENCE)
    assert in_a_step.wait(PATIENCE)  # whatever the engine counts now, it counted before the step
    with pytest.raises(QueueFull):
        rig.engine.submit([rig.sequence("Two", request_id="next")])
    rig.engine.cancel(["gone"])
    rig.engine.submit([rig.sequence("Two", request_id="next")])
    rig.model.before_step = lambda: None
    go_on.set()
    # What the held step gave to the text that has left is not handed out.
    assert rig.collect(["next"])[0].finish_reason == "length"


def test_nothing_is_computed_while_nobody_collects(rig: Rig) -> None:
    rig.engine.submit([rig.sequence("Once upon a time", max_tokens=50)])
    rig.engine.collect(timeout=PATIENCE)
    time.sleep(0.5)
    assert len(rig.model.steps) <= 3


def test_the_engine_runs_ahead_for_its_interval_and_no_longer(make_rig: MakeRig) -> None:
    # Short beside 400 steps on any machine: it lasts from the end of the first steps that are run
    # ahead, which have an interval of their own.
    rig = make_rig("int8", stream_interval_ms=10)
    rig.engine.submit([rig.sequence("Once upon a time", max_tokens=400, ignore_eos=True)])
    rig.engine.collect(timeout=PATIENCE)
    seen = [0, 1]
    while seen[-1] != seen[-2]:  # until it computes no more
        time.sleep(0.5)
        seen.append(len(rig.model.steps))
    assert 1 < seen[-1] < 400, "it went on though nobody collects"
    [text] = rig.collect(["r"])
    assert text.is_finished and len(rig.model.steps) > seen[-1]


@pytest.mark.parametrize("event", ["submit", "cancel"])
def test_who_comes_or_leaves_is_heard_after_the_step_that_runs(
    make_rig: MakeRig, event: str
) -> None:
    rig = make_rig("int8", stream_interval_ms=1000)
    other = rig.sequence("The fox", request_id="other", max_tokens=5)

    def happen() -> None:
        if len(rig.model.calls) == 3:
            rig.engine.submit([other]) if event == "submit" else rig.engine.cancel(["nobody"])

    rig.model.before_step = happen
    rig.engine.submit([rig.sequence("Once upon a time", max_tokens=400, ignore_eos=True)])
    rig.collect(["r", "other"] if event == "submit" else ["r"])
    # In the first call somebody waits for the second token.
    assert rig.model.calls[2] > 1
    assert rig.model.calls[3] == 1


def test_steps_in_one_call_end_with_the_first_text_that_ends(make_rig: MakeRig) -> None:
    rig = make_rig("int8", stream_interval_ms=1000)
    sequences = [
        rig.sequence("Once upon a time", max_tokens=length, ignore_eos=True)
        for length in (9, 30, 30)
    ]
    texts = rig.write(*sequences)
    assert [text.tokens for text in texts] == [9, 30, 30]
    assert max(rig.model.calls) > 1
    # No step computed anything for a text that had ended.
    assert sum(chunk.count == 1 for chunk in rig.model.chunks) <= 9 + 30 + 30


def test_what_has_to_be_seen_first_runs_step_by_step(make_rig: MakeRig) -> None:
    rig = make_rig("int8", stream_interval_ms=1000)
    for options in ({"stop": ("zebra",)}, {"logprobs": 0}, {"bad_words": ((7, 9),)}):
        rig.write(rig.sequence("Once upon a time", ignore_eos=True, **options))
    assert rig.model.calls == []


def test_each_token_of_a_call_has_the_time_of_its_step(make_rig: MakeRig) -> None:
    rig = make_rig("int8", stream_interval_ms=1000)
    before = time.monotonic()
    text = rig.write(rig.sequence("Once upon a time", max_tokens=40, ignore_eos=True))[0]
    times = [output.at for output in text.outputs]
    assert before < times[0] and times == sorted(set(times)) and times[-1] < time.monotonic()


def test_a_streams_first_token_is_told_at_once_whatever_the_interval(make_rig: MakeRig) -> None:
    rig = make_rig("int8", stream_interval_ms=1000)
    rig.engine._interval = FOREVER
    rig.engine.collect(timeout=0.01)  # the interval begins
    rig.engine.submit([rig.sequence("Once upon a time", max_tokens=400, ignore_eos=True)])
    assert rig.engine.collect(timeout=PATIENCE)


def test_an_end_is_told_at_once_whatever_the_interval(make_rig: MakeRig) -> None:
    rig = make_rig("int8", stream_interval_ms=1000)
    rig.engine._interval = FOREVER
    rig.write(rig.sequence("Once", max_tokens=1))
    [text] = rig.write(rig.sequence("Once", max_tokens=3))
    assert text.is_finished


def test_a_cancelled_text_leaves_its_neighbour_as_it_is(rig: Rig) -> None:
    alone = rig.write(rig.sequence("The fox", max_tokens=30))[0].text
    rig.engine.submit([rig.sequence("A ship came", request_id="gone", max_tokens=30)])
    rig.engine.submit([rig.sequence("The fox", request_id="stays", max_tokens=30)])
    text = rig.collect(["stays", "gone"], steps=5)[0].text
    rig.engine.cancel(["gone"])
    text += rig.collect(["stays"])[0].text
    assert text == alone
    assert len(rig.model.steps[-1]) == 1


def test_a_failed_step_ends_the_live_texts_and_the_next_is_served(rig: Rig) -> None:
    rig.model.fail_next_step = True
    texts = rig.write(*[rig.sequence(prompt) for prompt in PROMPTS[:3]])
    assert all(text.error and "started again" in text.error for text in texts)
    assert rig.write(rig.sequence("Once"))[0].finish_reason == "length"


def test_an_error_in_one_text_ends_that_text_alone(rig: Rig) -> None:
    broken = rig.sequence("The")
    broken._sampling._uniforms = None  # type: ignore[assignment]
    texts = rig.write(rig.sequence("Once"), broken, rig.sequence("It"))
    assert texts[1].error is not None
    assert texts[0].finish_reason == texts[2].finish_reason == "length"


def test_a_text_that_ends_in_a_step_that_fails_is_told_its_end(rig: Rig) -> None:
    rig.engine.submit([rig.sequence("The fox", request_id="other", max_tokens=400)])
    overdue = rig.sequence("It", request_id="due", max_tokens=400)
    rig.engine.submit([overdue])

    def end_and_fail_with_the_next_step() -> None:
        if len(rig.model.steps) == 3:
            overdue.deadline = 0.0
            rig.model.fail_next_step = True

    rig.model.before_step = end_and_fail_with_the_next_step
    other, due = rig.collect(["other", "due"])
    assert due.finish_reason == "length" and due.error is None
    assert other.error is not None


def test_logits_that_are_no_numbers_end_their_text_alone(rig: Rig) -> None:
    rig.model.spoil_ask = 1
    prompts = (PROMPTS[0], PROMPTS[1], PROMPTS[3])
    texts = rig.write(*[rig.sequence(prompt, max_tokens=5) for prompt in prompts])
    assert [text.error is not None for text in texts] == [False, True, False]


def test_a_deadline_ends_a_text_with_what_it_has(rig: Rig) -> None:
    overdue = rig.sequence("The fox", max_tokens=400)
    rig.engine.submit([overdue])
    rig.collect(["r"], steps=3)
    overdue.deadline = 0.0
    text = rig.collect(["r"])[0]
    assert text.finish_reason == "length"
    assert text.tokens < 390


def test_a_long_prompt_is_computed_in_chunks_beside_a_running_completion(
    make_rig: MakeRig, kind: str
) -> None:
    rig = make_rig(kind, slots=8, max_num_batched_tokens=32)
    rig.engine.submit([rig.sequence("Once", request_id="short", max_tokens=60, ignore_eos=True)])
    rig.collect(["short"], steps=5)
    rig.model.steps.clear()
    rig.engine.submit([rig.sequence([7] * 321, request_id="long", max_tokens=2)])
    rig.collect(["short", "long"])
    # Beside the prompt, each step has the next token of the other one, and no more than 32 in all.
    beside = [step for step in rig.model.steps if any(chunk.count > 1 for chunk in step)]
    assert sum(max(step, key=lambda c: c.count).count for step in beside) in (320, 321)
    assert all(sum(chunk.count for chunk in step) <= 32 for step in rig.model.steps)
    assert all(sorted(chunk.count for chunk in step)[0] == 1 for step in beside)
    assert len(beside) >= 10


def test_going_on_with_a_text_reads_only_what_is_new(rig: Rig) -> None:
    prompt = list(range(5, 305))
    rig.write(rig.sequence(prompt, max_tokens=1))
    rig.model.steps.clear()
    text = rig.write(rig.sequence([*prompt, 17, 18, 19], max_tokens=1))[0]
    assert text.cached_tokens == 300
    assert rig.model.chunks == [(300, 3)]


def test_a_text_that_is_scored_is_read_in_smaller_pieces(make_rig: MakeRig, kind: str) -> None:
    rig = make_rig(kind, slots=8, max_num_batched_tokens=32)
    rig.write(rig.sequence([7] * 100, logprobs=0, prompt_logprobs=True, max_tokens=1))
    assert max(chunk.count for chunk in rig.model.chunks) == 16


def test_a_beginning_that_prompts_share_is_read_once_though_they_come_together(
    rig: Rig,
) -> None:
    shared = [random.Random(1).randrange(1, EMBEDDED_VOCABULARY) for _ in range(300)]
    prompts = [[*shared, 11 + number, 12, 13] for number in range(8)]
    sequences = [
        rig.sequence(prompt, request_id=f"{number}", max_tokens=2)
        for number, prompt in enumerate(prompts)
    ]
    rig.engine.submit(sequences)  # all at once: none is read when the others are taken in
    texts = rig.collect([f"{number}" for number in range(8)])
    assert [text.cached_tokens for text in texts] == [0] + [300] * 7
    computed = sum(chunk.count for chunk in rig.model.chunks)
    assert computed == 303 + 7 * 3 + 8, "the second tokens besides"


def test_equal_prompts_are_read_once(rig: Rig) -> None:
    sequences = [
        rig.sequence("The old king", index=i, seed=i, temperature=1.0, max_tokens=4)
        for i in range(8)
    ]
    for sequence in sequences:
        sequence.request_id = f"n-{sequence.index}"
    rig.engine.submit(sequences)
    texts = rig.collect([f"n-{i}" for i in range(8)])
    assert [chunk.start for chunk in rig.model.chunks].count(0) == 1
    assert len({text.text for text in texts}) > 1


def test_prompts_that_are_to_be_scored_are_read_once_too(rig: Rig) -> None:
    sequences = [
        rig.sequence("The old king", index=i, logprobs=2, prompt_logprobs=True, max_tokens=2)
        for i in range(4)
    ]
    rig.engine.submit(sequences)
    outputs: dict[int, Text] = {i: Text() for i in range(4)}
    while not all(text.is_finished for text in outputs.values()):
        for output in rig.engine.collect(timeout=PATIENCE):
            outputs[output.index].add(output)
    assert [chunk.start for chunk in rig.model.chunks].count(0) == 1
    scores = [text.outputs[0].prompt_logprobs for text in outputs.values()]
    assert scores[0] is not None and len(scores[0]) == len(sequences[0].prompt)
    assert all(score == scores[0] for score in scores)


def test_texts_are_begun_in_the_order_in_which_they_came(make_rig: MakeRig) -> None:
    rig = make_rig("fp32", slots=2)
    sequences = [
        rig.sequence([10 + number] * (3 + 60 * (number % 2)), request_id=f"{number}", max_tokens=3)
        for number in range(6)
    ]
    for sequence in sequences:
        rig.engine.submit([sequence])
    begun: list[str] = []
    ended: set[str] = set()
    while len(ended) < len(sequences):
        for output in rig.engine.collect(timeout=PATIENCE):
            if output.token is not None and output.request_id not in begun:
                begun.append(output.request_id)
            if output.finish_reason:
                ended.add(output.request_id)
    assert begun == [sequence.request_id for sequence in sequences]


def test_memory_bounds_how_many_texts_run_at_once(make_rig: MakeRig) -> None:
    shape = make_rig("fp32").model.buffer.bytes_per_token
    two = -(-2 * 490 * shape >> 20)  # as much as two texts of so many tokens need
    rig = make_rig("fp32", cache_memory_mib=two)
    texts = rig.write(*[rig.sequence(prompt, max_tokens=480) for prompt in ["A", "B", "C", "D"]])
    assert all(text.tokens == 480 or text.finish_reason == "stop" for text in texts)
    assert rig.model.most_at_once == 2


def test_going_on_with_a_written_text_reads_nothing_of_it_again(
    make_rig: MakeRig,
) -> None:
    """The native step gives a position the same bits however it was computed."""
    rig, fresh = make_rig("int8"), make_rig("int8")
    prompt = list(range(5, 46))
    first = rig.write(rig.sequence(prompt, max_tokens=30, ignore_eos=True))[0]
    written = [output.token for output in first.outputs if output.token is not None]
    going_on = [*prompt, *written, 17, 18]
    options = {"temperature": 1.0, "seed": 3, "logprobs": 0, "max_tokens": 20, "ignore_eos": True}
    again = rig.write(rig.sequence(going_on, **options))[0]
    # The last written token was never read: nothing followed it.
    assert again.cached_tokens == len(prompt) + len(written) - 1
    alone = fresh.write(fresh.sequence(going_on, **options))[0]
    assert alone.cached_tokens == 0
    assert again.text == alone.text
    assert again.logprobs == alone.logprobs
