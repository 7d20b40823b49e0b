"""Embeddings: the last hidden states of a text, pooled; the same whatever else is being served."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handler.engine.errors import QueueFull
from handler.engine.pooling import Pool
from tests.conftest import EMBEDDED_MODEL, EMBEDDED_VOCABULARY
from tests.handler.conftest import MakeRig
from tests.handler.engines import Rig
from tests.patience import PATIENCE

TEXTS = ["The old house", "Once upon a time there was a fox.", "a" * 300, "x"]


def ids(seed: int, length: int) -> list[int]:
    return random.Random(seed).choices(range(1, EMBEDDED_VOCABULARY), k=length)


def embed(rig: Rig, *texts: list[int], pooling: str = "mean") -> list[npt.NDArray[np.float64]]:
    """Have texts embedded as one request each, all at once."""
    options: Any = {"max_tokens": 0, "pooling": pooling}
    written = rig.write(*[rig.sequence(text, **options) for text in texts])
    vectors = [text.outputs[-1].vector for text in written]
    assert all(text.finish_reason == "stop" for text in written)
    return [vector for vector in vectors if vector is not None]


@pytest.fixture(scope="module")
def reference() -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.GPT2Model.from_pretrained(EMBEDDED_MODEL, dtype="float32").eval()


@pytest.mark.parametrize("kind", ["fp32", "torch"])
def test_vectors_are_those_of_transformers(make_rig: MakeRig, kind: str, reference: Any) -> None:
    torch = pytest.importorskip("torch")
    rig = make_rig(kind)
    prompts = [rig.vocabulary.encode(text) for text in TEXTS]
    for pooling in ("mean", "last"):
        found = embed(rig, *prompts, pooling=pooling)
        for vector, prompt in zip(found, prompts, strict=True):
            with torch.inference_mode():
                states = reference(torch.tensor([prompt])).last_hidden_state[0].numpy()
            expected = states.mean(0) if pooling == "mean" else states[-1]
            np.testing.assert_allclose(vector, expected, atol=1e-4)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def rigs(request: pytest.FixtureRequest, archives: dict[str, Path]) -> Iterator[dict[int, Rig]]:
    """Engines that cut texts in different places."""
    directory = archives[request.param]
    made = {
        budget: Rig(directory, slots=6, max_num_batched_tokens=budget) for budget in (7, 33, 160)
    }
    yield made
    for rig in made.values():
        rig.close()


def test_neither_cuts_nor_neighbours_change_a_bit(rigs: dict[int, Rig]) -> None:
    @settings(
        deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        lengths=st.lists(st.integers(1, 90), min_size=1, max_size=6),
        pooling=st.sampled_from(["mean", "last"]),
        neighbours=st.integers(0, 4),
        budget=st.sampled_from([7, 33]),
    )
    def check(lengths: list[int], pooling: str, neighbours: int, budget: int) -> None:
        # Few seeds: texts begin alike, so that the cache has something to reuse.
        texts = [ids(number % 3, length) for number, length in enumerate(lengths)]
        busy, calm = rigs[budget], rigs[160]
        prompts = [ids(number % 3, 40) for number in range(neighbours)]
        written = [busy.sequence(each, max_tokens=8, ignore_eos=True) for each in prompts]
        options: Any = {"max_tokens": 0, "pooling": pooling}
        asked = [busy.sequence(text, **options) for text in texts]
        together = busy.write(*written, *asked)[neighbours:]
        for text, found in zip(texts, together, strict=True):
            calm.engine._scheduler.cache.clear()
            alone = embed(calm, text, pooling=pooling)[0]
            vector = found.outputs[-1].vector
            assert vector is not None and vector.tobytes() == alone.tobytes()

    check()


def test_a_long_text_holds_up_no_stream(make_rig: MakeRig) -> None:
    """A text that is being written gets its token in every step, whatever is embedded."""
    rig = make_rig("int8", max_num_batched_tokens=40)
    stream = rig.sequence([5, 6, 7], request_id="stream", max_tokens=60, ignore_eos=True)
    rig.engine.submit([stream])
    while not rig.engine.collect(timeout=PATIENCE):
        pass
    options: Any = {"max_tokens": 0, "pooling": "mean", "request_id": "texts"}
    rig.engine.submit([rig.sequence(ids(n, 400), index=n, **options) for n in range(4)])
    done = 0
    while done < 4:
        done += sum(o.is_last for o in rig.engine.collect(10) if o.request_id == "texts")
    beside = [step for step in rig.model.steps if len(step) > 1]
    assert beside and all(sum(chunk.count for chunk in step) <= 40 for step in rig.model.steps)
    begun = [[chunk.start for chunk in step if chunk.count == 1] for step in rig.model.steps]
    for number in range(3, 3 + 40):  # its positions come one after the other, a step each
        assert any(number in starts for starts in begun)
    first = next(i for i, step in enumerate(rig.model.steps) if len(step) > 1)
    starts = [min(chunk.start for chunk in step if chunk.count == 1)
              for step in rig.model.steps[first : first + 20]]  # fmt: skip
    assert starts == list(range(starts[0], starts[0] + 20))


def test_a_request_of_many_texts_takes_half_of_the_slots(make_rig: MakeRig) -> None:
    rig = make_rig("int8", slots=4, max_waiting=0)
    options: Any = {"max_tokens": 0, "pooling": "last", "request_id": "many"}
    rig.engine.submit([rig.sequence(ids(n, 30), index=n, **options) for n in range(50)])
    with pytest.raises(QueueFull):
        rig.engine.submit([rig.sequence([5], request_id="more", index=n) for n in range(3)])
    rig.engine.submit([rig.sequence([5, 6, 7], request_id="beside", max_tokens=5)])
    many, beside = list[int](), 0
    while len(many) < 50 or not beside:
        for output in rig.engine.collect(10):
            if output.request_id == "many":
                many.append(output.index)
            else:
                beside += output.is_last
    assert sorted(many) == list(range(50))
    assert rig.model.most_at_once <= 3  # two of the texts, and the completion


def test_a_client_that_leaves_stops_texts_that_have_not_begun(make_rig: MakeRig) -> None:
    rig = make_rig("int8", slots=2)
    options: Any = {"max_tokens": 0, "pooling": "mean", "request_id": "gone"}
    rig.engine.submit([rig.sequence(ids(n, 400), index=n, **options) for n in range(20)])
    while not rig.engine.collect(10):  # a step that ends no text tells nothing
        pass
    rig.engine.cancel(["gone"])
    assert rig.write(rig.sequence([5], max_tokens=2))[0].tokens == 2
    assert not len(rig.engine._scheduler) and not rig.engine._held_back
    assert sum(chunk.start == 0 for chunk in rig.model.chunks) < 20


def test_a_text_that_is_not_read_in_time_is_an_error(make_rig: MakeRig) -> None:
    rig = make_rig("int8")
    late = rig.sequence([5, 6], max_tokens=0, pooling="mean", deadline=0.0)
    assert "in time" in str(rig.write(late)[0].error)


def test_states_that_are_no_numbers_fail_their_text(make_rig: MakeRig) -> None:
    pool = Pool("mean")
    pool.add(np.array([[1.0, np.nan]], np.float32))
    with pytest.raises(FloatingPointError):
        pool.vector()
