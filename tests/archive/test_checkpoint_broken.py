"""Checkpoints that cannot be served: refused in words that help, and nothing of them is run."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import save_file

from archive.checkpoint import open_checkpoint
from archive.errors import CheckpointError
from archive.hub import find_checkpoint
from archive.package import check_model
from archive.packing import Target
from archive.settings import Settings
from tests.archive.refused import REFUSED, Refused
from tests.archive.spoil import RunsCode
from tests.archive.table import PAGE, page_with, table
from tests.archive.test_checkpoint_layouts import put_tokenizer
from tests.archive.tiny import full, tiny_weights, turned


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_it_is_refused_in_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Refused
) -> None:
    directory, temporary = tmp_path / "model", tmp_path / "temporary"
    directory.mkdir()
    temporary.mkdir()
    put_tokenizer(directory)
    weights = tiny_weights(directory)
    save_file(full(weights) if "LFS" in case.words else weights, directory / "model.safetensors")
    monkeypatch.setattr(RunsCode, "place", tmp_path / "executed", raising=False)
    case.spoil(directory)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(temporary))
    with pytest.raises(CheckpointError) as told:
        source = find_checkpoint(str(directory))
        checkpoint = open_checkpoint(source.path, source.name, source.tokenizer, source.base)
        for name in checkpoint.weights:
            checkpoint.weights[name]
    assert case.words in str(told.value) and "\n" not in str(told.value)
    assert str(tmp_path) not in str(told.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_page_has_the_table_of_all_cases() -> None:
    assert PAGE.read_text(encoding="utf-8") == page_with(table()), "python -m tests.archive.table"


def test_a_check_tells_what_would_be_packed_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    put_tokenizer(directory)
    save_file(turned(full(tiny_weights(directory))), directory / "model.safetensors")
    before = sorted(tmp_path.rglob("*"))
    check_model(Settings(str(directory), Target("tales", "1.0", tmp_path / "store")))
    told = capsys.readouterr().out
    assert "weights: safetensors; whole and finite" in told
    assert "2 layers" in told and "4 heads, width 48, 64 positions, 7,552 tokens" in told
    assert f"would pack {tmp_path}/store/tales.mar" in told
    assert sorted(tmp_path.rglob("*")) == before
