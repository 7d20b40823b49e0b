"""Sizes under any of the names that configs have for them, or several, some of them empty."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from archive.checkpoint import open_checkpoint
from archive.errors import CheckpointError
from archive.formats.config import SYNONYMS, normal_config
from tests.archive.spoil import RunsCode
from tests.archive.test_checkpoint_layouts import put_tokenizer
from tests.archive.tiny import tiny_weights

SIZES = {"n_layer": 3, "n_head": 5, "n_embd": 40, "n_positions": 77, "vocab_size": 123}
NAMES = {name: [name, *(other for other, ours in SYNONYMS.items() if ours == name)]
         for name in SIZES}  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_sizes_are_found_under_any_name(seed: int) -> None:
    generator = random.Random(seed)
    config: dict[str, Any] = {"model_type": "gpt2"}
    for name, size in SIZES.items():
        said = generator.sample(NAMES[name], generator.randint(1, len(NAMES[name])))
        config |= dict.fromkeys(said, size)
        empty = [other for other in NAMES[name] if other not in said and generator.random() < 0.5]
        config |= dict.fromkeys(empty)
    given = list(config.items())
    generator.shuffle(given)
    normal = normal_config(dict(given))
    assert {name: normal[name] for name in SIZES} == SIZES


@pytest.mark.parametrize("config", [{}, {"hidden_size": 40}, {"model_type": None, "vocab_size": 9}])
def test_a_config_that_may_be_anybodys_says_what_makes_it_a_gpt2s(config: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match='put "model_type": "gpt2" into it'):
        normal_config(config)


def test_a_link_is_called_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunsCode, "place", tmp_path / "executed", raising=False)
    tiny_weights(tmp_path)
    put_tokenizer(tmp_path)
    (tmp_path / "blobs").mkdir()
    torch.save({"code": RunsCode()}, tmp_path / "blobs" / "0abc123")
    (tmp_path / "pytorch_model.bin").symlink_to("blobs/0abc123")
    with pytest.raises(CheckpointError, match=r"^pytorch_model\.bin is a pickle that needs more"):
        open_checkpoint(tmp_path, "tales")
    assert not (tmp_path / "executed").exists()
