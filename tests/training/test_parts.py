import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.text import tales
from training.corpus import chunks, split
from training.evaluate import score
from training.model import new_model
from training.ngram import KneserNey
from training.optimizer import MuonWithAdamW
from training.reading.document import Reading
from training.reading.read import read_documents
from training.references import (
    character_bits_per_character,
    word_bits_per_character,
    xz_bits_per_character,
)
from training.samples import closed_quotes, distinct_4grams
from training.windows import BatchPerStep, plan_phases, tokens_at


@pytest.mark.parametrize("paragraphs_of_each", [300, 1200])
def test_every_twentieth_chunk_is_held_out_of_a_short_text_every_tenth(
    paragraphs_of_each: int, tmp_path: Path
) -> None:
    for name in ("b.txt", "a.txt"):
        paragraphs = [f"{name} {number} " + "x" * 100 for number in range(paragraphs_of_each)]
        (tmp_path / name).write_text("\r\n\r\n".join(paragraphs), encoding="utf-8-sig")
    corpus = split(read_documents([str(tmp_path)], Reading()))
    cut = [
        text[start:end]
        for name in ("a.txt", "b.txt")
        for text in [(tmp_path / name).read_text("utf-8-sig").replace("\r\n", "\n")]
        for start, end in chunks(text, corpus.chunk_characters)
    ]
    assert corpus.held_out_every == (20 if paragraphs_of_each > 1000 else 10)
    every = corpus.held_out_every
    assert corpus.held_out == tuple(cut[every - 1 :: every])
    assert sum(map(len, cut)) - 2 * len(cut) < corpus.train_characters + sum(
        map(len, corpus.held_out)
    )
    assert corpus.files == ("a.txt", "b.txt")
    assert "\r" not in "".join(corpus.train)


def test_chunks_end_at_the_first_paragraph_beyond_the_size() -> None:
    text = "\n\n".join(["a" * 60, "b" * 60, "c" * 60])
    assert [text[start:end] for start, end in chunks(text, 100)] == [
        "a" * 60 + "\n\n" + "b" * 60,
        "c" * 60,
    ]


def test_one_pass_shows_every_window_once_and_targets_are_one_ahead() -> None:
    stream = np.arange(1001, dtype=np.int32)
    phases = plan_phases(20, 20, context=20, short_context=10, long_share=0.5)
    batches = BatchPerStep(stream, phases, seed=3)
    assert len(batches) == 20
    assert batches[0]["input_ids"].shape == (2, 10)
    assert batches[19]["input_ids"].shape == (1, 20)
    starts = [int(row[0]) for step in range(10) for row in batches[step]["input_ids"]]
    assert len(set(starts)) == len(starts)
    assert torch.equal(batches[7]["labels"], batches[7]["input_ids"] + 1)
    assert torch.equal(BatchPerStep(stream, phases, 3)[7]["labels"], batches[7]["labels"])
    assert tokens_at(phases, 20) == 400


def test_muon_moves_query_key_and_value_apart_and_leaves_the_rest_to_adamw() -> None:
    torch.manual_seed(0)
    model = new_model(300, 32, 1, 64, 1, 0.0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = MuonWithAdamW(model, muon_learning_rate=0.01, learning_rate=0.001, weight_decay=0.0)
    ids = torch.randint(0, 300, (4, 32))
    model(input_ids=ids, labels=ids).loss.backward()
    optimizer.step()
    moved = {name: p.detach() - before[name] for name, p in model.named_parameters()}
    for part in moved["transformer.h.0.attn.c_attn.weight"].chunk(3, dim=1):
        # Five Newton-Schulz steps leave most singular values near one, whatever they were.
        values = torch.linalg.svdvals(part) / 0.01
        assert 0.6 < values.median() < 1.3
        assert values.max() < 1.4
    wide = torch.linalg.svdvals(moved["transformer.h.0.mlp.c_fc.weight"]) / 0.01
    assert 1.2 < wide.median() < 2.6  # four times as many outputs as inputs: twice the step
    assert moved["transformer.wte.weight"].abs().max() <= 0.00101


def test_the_optimizers_state_survives_saving() -> None:
    def trained(break_after: int | None) -> torch.Tensor:
        torch.manual_seed(0)
        model = new_model(300, 16, 1, 32, 1, 0.0)
        optimizer = MuonWithAdamW(model, 0.01, 0.001, 0.1)
        batches = torch.randint(0, 300, (4, 2, 16))
        for number, ids in enumerate(batches):
            if number == break_after:
                state = optimizer.state_dict()
                optimizer = MuonWithAdamW(model, 0.5, 0.5, 0.5)
                optimizer.load_state_dict(state)
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    assert torch.equal(trained(None), trained(2))


def test_a_model_that_knows_nothing_costs_the_logarithm_of_its_vocabulary() -> None:
    model = new_model(256, 16, 1, 32, 1, 0.0)
    torch.nn.init.zeros_(model.transformer.wte.weight)
    chunks = [np.arange(1, 20, dtype=np.int32), np.arange(1, 31, dtype=np.int32)]
    result = score(model, chunks, characters=96, window=16)
    assert result.tokens == 48
    assert math.isclose(result.perplexity, 256, rel_tol=1e-4)
    assert math.isclose(result.bits_per_character, 8 * 48 / 96, rel_tol=1e-4)


def test_a_score_does_not_depend_on_how_many_windows_run_together() -> None:
    torch.manual_seed(0)
    model = new_model(300, 16, 1, 32, 1, 0.0)
    chunks = [np.random.default_rng(0).integers(0, 300, 500).astype(np.int32)]
    one, many = (score(model, chunks, 1, 16, rows=rows).nats for rows in (1, 7))
    assert math.isclose(one, many, rel_tol=1e-5)


def test_kneser_ney_probabilities_sum_to_one_after_any_context() -> None:
    ids = np.random.default_rng(0).integers(0, 9, 3000)
    model = KneserNey(ids, order=4, size=10)
    for context in ([0, 1, 2], [9, 9, 9], [3, 9, 4]):
        total = sum(
            model.probabilities(np.array([*context, following]))[-1] for following in range(10)
        )
        assert math.isclose(total, 1.0, rel_tol=1e-9)


def test_kneser_ney_gives_the_values_that_one_works_out_by_hand() -> None:
    model = KneserNey(np.array([1, 2, 1, 2, 1, 3]), order=2, size=4)
    # Pairs, with nothing as 0 before the first: 01 once, 12 twice, 21 twice, 13 once; too few for
    # discounts of their own: 0.5 and 0.75. One id counts by how many differ before it: 2, 1, 1.
    left = (0.75 + 0.5 + 0.5) / 4
    one = (2 - 0.75) / 4 + left / 4
    three = (1 - 0.5) / 4 + left / 4
    three_after_one = (1 - 0.5) / 3 + (0.75 + 0.5) / 3 * three
    assert model.probabilities(np.array([1, 3])) == pytest.approx([one, three_after_one])


def test_references_find_the_order_in_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(tales(300))
    corpus = split(read_documents([str(tmp_path)], Reading()))
    for reference in (
        character_bits_per_character,
        word_bits_per_character,
        xz_bits_per_character,
    ):
        assert 0.3 < reference(corpus) < 1.5, reference.__name__


def test_loops_and_open_quotes_are_counted() -> None:
    assert distinct_4grams(list(range(50))) == 1.0
    assert distinct_4grams([1, 2, 3] * 50) < 0.05
    assert closed_quotes('"Yes," he said.\n\nNo speech.\n\n"Open\n\nlast') == 0.5
    assert closed_quotes("\u201cYes.\u201d\n\nend") == 1.0
