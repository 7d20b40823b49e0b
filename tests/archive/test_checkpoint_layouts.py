"""However people have a GPT-2: the same model comes, or words that say what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from archive.checkpoint import Checkpoint, open_checkpoint
from tests.archive.checkpoints import EMBEDDED_MODEL
from tests.archive.same import SAME, Layout
from tests.archive.served import MADE as MADE_ELSEWHERE
from tests.archive.tiny import tiny_config, tiny_weights

MADE = Path(__file__).parent / "made"


def put_tokenizer(directory: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(EMBEDDED_MODEL / name, directory / name)


@pytest.mark.parametrize("layout", SAME.values(), ids=SAME.keys())
def test_the_same_model_comes_from_every_layout(tmp_path: Path, layout: Layout) -> None:
    weights = tiny_weights(tmp_path)
    put_tokenizer(tmp_path)
    config = tiny_config(**(layout.config or {}))
    (tmp_path / "config.json").write_text(
        json.dumps({key: value for key, value in config.items() if value is not None})
    )
    if not layout.has_config:
        (tmp_path / "config.json").unlink()
    layout.write(tmp_path, weights)
    if layout.file:  # a file says all of it: nothing that lies beside it is needed
        (tmp_path / "tokenizer.json").unlink()
    checkpoint = open_checkpoint(tmp_path / layout.file, "tales")
    assert_same(checkpoint, weights)
    assert checkpoint.config["activation_function"] == layout.activation
    assert layout.remark in " ".join(checkpoint.remarks)
    assert bool(layout.remark) == bool(checkpoint.remarks)


def assert_same(checkpoint: Checkpoint, weights: dict[str, np.ndarray]) -> None:
    assert list(checkpoint.weights) == list(weights)
    for name, weight in weights.items():
        read = checkpoint.weights[name]
        assert read.dtype == np.float32 and np.array_equal(read, weight), name
    shape = checkpoint.shape
    assert (shape.layers, shape.heads, shape.width, shape.inner_width) == (2, 4, 48, 192)
    assert (shape.max_length, shape.vocab_size, shape.tied_head) == (64, 7552, True)
    assert shape.epsilon == pytest.approx(1e-5, rel=1e-6)
    assert checkpoint.config["scale_attn_weights"] is True
    text = "Once upon a time<|endoftext|> naïve 漢字 🙂"
    expected = Tokenizer.from_file(str(EMBEDDED_MODEL / "tokenizer.json")).encode(text).ids
    assert checkpoint.tokenizer.encode(text).ids == expected


@pytest.mark.parametrize("name", MADE_ELSEWHERE)
def test_what_other_libraries_wrote_computes_what_they_computed(tmp_path: Path, name: str) -> None:
    shutil.copytree(MADE / name, tmp_path / name)
    words = {letter: place for place, letter in enumerate(map(chr, range(32, 127)))}
    tokenizer = {"type": "WordLevel", "vocab": words | {"<unk>": 95}, "unk_token": "<unk>"}
    (tmp_path / name / "tokenizer.json").write_text(
        json.dumps({"version": "1.0", "added_tokens": [], "model": tokenizer})
    )
    kind = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (tmp_path / name / "tokenizer_config.json").write_text(json.dumps(kind))
    checkpoint = open_checkpoint(tmp_path / name, name)
    assert checkpoint.shape.tied_head == (name != "flax_untied")
    ids = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6, 53, 58]])
    with torch.inference_mode():
        logits = torch_model(checkpoint)(ids).logits[0].numpy()
    assert np.abs(logits - np.load(MADE / name / "logits.npy")).max() < 1e-5


def torch_model(checkpoint: Checkpoint) -> GPT2LMHeadModel:
    """The model by `transformers`, of the weights as they were read."""
    config = {name: value for name, value in checkpoint.config.items() if name != "architectures"}
    model = GPT2LMHeadModel(GPT2Config(**config)).eval()
    weights = {name: torch.tensor(weight) for name, weight in checkpoint.weights.items()}
    head = weights.pop("lm_head.weight", weights["wte.weight"])
    state = {f"transformer.{name}": weight for name, weight in weights.items()}
    model.load_state_dict(state | {"lm_head.weight": head})
    return model
