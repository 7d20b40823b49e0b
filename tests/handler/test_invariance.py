"""The promise: prompt, options and seed decide the text, whoever else is being served.

Holds for what the native step computes; the torch reference makes no such promise.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from handler.engine.grammar import CHOICE, JSON_SCHEMA, REGEX, Grammar, Grammars, GrammarSource
from tests.conftest import EMBEDDED_VOCABULARY
from tests.handler.conftest import MakeRig
from tests.handler.engines import Rig, Text

SLOTS = 8
COMPILE_SECONDS = 60.0
GRAMMARS = (
    GrammarSource(REGEX, "[a-z]+( [a-z]+){0,9}[.]"),
    GrammarSource(JSON_SCHEMA, '{"type": "array", "items": {"type": "string"}}'),
    GrammarSource(CHOICE, '["yes", "no", "perhaps not"]'),
)
requests = st.fixed_dictionaries(
    {
        "prompt_seed": st.integers(0, 5),
        "prompt_length": st.integers(1, 150),
        "max_tokens": st.integers(1, 25),
        "seed": st.integers(0, 3),
        "ignore_eos": st.booleans(),
        # With them each step is a call of its own.
        "logprobs": st.sampled_from([None, None, 0]),
        "options": st.sampled_from(
            [
                {"temperature": 0.0},
                {"temperature": 1.0},
                {"temperature": 0.8, "top_p": 0.9, "repetition_penalty": 1.2},
                {"temperature": 1.2, "top_k": 40, "frequency_penalty": 0.5},
                {"temperature": 1.0, "min_tokens": 12, "presence_penalty": 0.3},
            ]
        ),
        "delay": st.integers(0, 20),
        "cancel_after": st.one_of(st.none(), st.integers(0, 20)),
        # Who follows one has the same text as alone, and so have all beside it.
        "grammar": st.sampled_from([None, None, None, *GRAMMARS]),
    }
)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def rigs(request: pytest.FixtureRequest, archives: dict[str, Path]) -> Any:
    """Engines that are left busy, by the tokens of their steps and how long they run ahead (ms).

    And one that is asked for a text a time, step by step.
    """
    directory = archives[request.param]
    busy = {
        (budget, interval): Rig(
            directory,
            slots=SLOTS,
            max_num_batched_tokens=budget,
            stream_interval_ms=interval,
        )
        for budget, interval in ((9, 0), (24, 15), (136, 3))
    }
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
        **{"min_tokens": min(case["options"].get("min_tokens", 0), case["max_tokens"])},
        **{name: value for name, value in case["options"].items() if name != "min_tokens"},
        ignore_eos=case["ignore_eos"] and case["grammar"] is None,
        logprobs=case["logprobs"],
        grammar=case["grammar"] and compiled(rig, case["grammar"]),
    )


def compiled(rig: Rig, source: GrammarSource) -> Grammar:
    found = grammars_of(rig.vocabulary, rig.metadata.end_tokens, rig.shape.vocab_size)
    return found.compile(source, COMPILE_SECONDS)


grammars_of = cache(Grammars)


def signature(text: Text) -> tuple[str, list[float]]:
    """The text and, bit for bit, the log probability of each token."""
    return text.text, [entry.logprob.logprob for entry in text.logprobs if entry.logprob]


Busy = dict[tuple[int, int], Rig]
# Two that need nothing of Python between two tokens: their steps follow each other in one call.
PLAIN = {
    **dict.fromkeys(("prompt_seed", "seed", "delay"), 0),
    **dict.fromkeys(("logprobs", "cancel_after", "grammar")),
    "prompt_length": 20,
    "max_tokens": 25,
    "ignore_eos": True,
    "options": {"temperature": 1.0},
}


def test_joins_leaves_and_cancels_change_no_text(rigs: tuple[Busy, Rig]) -> None:
    busy, calm = rigs
    reused = 0

    @settings(
        deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(cases=st.lists(requests, min_size=2, max_size=20), kind=st.sampled_from(sorted(busy)))
    @example(cases=[PLAIN, PLAIN | {"seed": 1}], kind=(24, 15))
    def check(cases: list[dict[str, Any]], kind: tuple[int, int]) -> None:
        nonlocal reused
        reused += sum(text.cached_tokens for text in compare(busy[kind], calm, cases))

    check()
    assert reused > 0, "nothing was reused, so nothing is known of reuse"
    ahead = [steps for rig in busy.values() for steps in rig.model.calls]
    assert max(ahead) > 1, "no steps followed each other in one call"


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
    assert rig.model.most_at_once == 32
    for number in range(0, 32, 5):
        alone = rig.write(sequence(number))[0]
        assert signature(alone) == signature(together[number])


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_reuse_that_ends_in_what_was_written_changes_nothing(make_rig: MakeRig, kind: str) -> None:
    rig, fresh = make_rig(kind), make_rig(kind)
    prompt = list(range(30, 91))
    written = rig.write(rig.sequence(prompt, max_tokens=30, ignore_eos=True, logprobs=0))[0]
    tokens = [entry.token for entry in written.logprobs]
    for length in (29, 17, 2, 1):
        longer = [*prompt, *tokens[:length], 5]

        def sequence(of: Rig, longer: list[int] = longer) -> Any:
            return of.sequence(longer, max_tokens=10, ignore_eos=True, logprobs=0)

        again = rig.write(sequence(rig))[0]
        assert again.cached_tokens == len(prompt) + length
        assert signature(again) == signature(fresh.write(sequence(fresh))[0])
