from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from transformers import GPT2LMHeadModel

from archive.checkpoint import load_checkpoint
from archive.files import save_graph
from archive.graph import build_graph
from archive.plan import uniform_plan
from archive.products import Form
from tests.archive.checkpoints import write_checkpoint
from tests.archive.slots import Slots

KINDS: dict[str, dict[str, Any]] = {
    "tied": {},
    "untied head": {"tie_word_embeddings": False},
    "inverse layer scale": {"scale_attn_by_inverse_layer_idx": True},
    "unscaled attention": {"scale_attn_weights": False},
    "narrow feed-forward": {"n_inner": 96},
}


def float_graph(directory: Path) -> tuple[Any, onnx.ModelProto]:
    checkpoint = load_checkpoint(directory, "test")
    plan = uniform_plan(checkpoint.shape, Form.FP32, {})
    return checkpoint.shape, build_graph(checkpoint.shape, checkpoint.weights, plan)


def expected_logits(directory: Path, ids: np.ndarray) -> np.ndarray:
    model = GPT2LMHeadModel.from_pretrained(directory, dtype=torch.float32).eval()
    with torch.no_grad():
        return np.asarray(model(torch.tensor(ids[None])).logits[0].numpy())


@pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS.keys())
def test_float_logits_equal_those_of_transformers(tmp_path: Path, settings: dict) -> None:
    write_checkpoint(tmp_path, **settings)
    shape, graph = float_graph(tmp_path)
    ids = np.random.default_rng(1).integers(0, shape.vocab_size, 90)
    expected = expected_logits(tmp_path, ids)
    slots = Slots(graph, shape, slots=2)
    for cuts in ([], [40], [32, 64, 88, 89], list(range(1, 90))):
        found = slots.prefill(ids, cuts, slot=1)
        assert np.abs(found - expected).max() < 1e-4


def test_logits_come_only_for_the_rows_asked_for(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    shape, graph = float_graph(tmp_path)
    ids = np.arange(20)[None]
    slots = Slots(graph, shape, slots=1)
    everywhere = slots.run(ids, np.array([0]))
    some = slots.run(ids, np.array([0]), logit_rows=np.array([19, 3]))
    assert np.array_equal(some, everywhere[[19, 3]])


def test_large_tensors_go_into_a_file_of_their_own(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "checkpoint")
    shape, graph = float_graph(tmp_path / "checkpoint")
    ids = np.arange(20)[None]
    expected = Slots(graph, shape, slots=1).run(ids, np.array([0]))
    path = save_graph(graph, tmp_path, external_from=100_000)
    assert path.stat().st_size < 100_000
    assert (tmp_path / "model.onnx.data").stat().st_size > 1_000_000
    assert np.array_equal(Slots(str(path), shape, slots=1).run(ids, np.array([0])), expected)


def test_the_model_file_says_what_it_holds(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    _, graph = float_graph(tmp_path)
    facts = {entry.key: entry.value for entry in graph.metadata_props}
    assert facts["precision"] == "fp32"
    assert facts["n_positions"] == "256"
