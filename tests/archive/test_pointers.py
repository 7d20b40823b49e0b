"""A checkpoint that was cloned without Git LFS: whichever file is missing, the words say so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from archive.checkpoint import open_checkpoint
from archive.errors import CheckpointError
from archive.package import check_model
from archive.packing import Target
from archive.settings import Settings
from tests.archive.layouts import LAYOUTS, SENTENCE_PIECE, Write
from tests.archive.tiny import full, tiny_weights

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{:064x}\nsize 456318\n"


def with_template(directory: Path) -> None:
    LAYOUTS["tokenizer.json alone"](directory)
    (directory / "chat_template.jinja").write_text("{{ messages }}")
    (directory / "examples.json").write_text('["One"]')
    (directory / "generation_config.json").write_text("{}")


FILES: list[tuple[Write | Callable[[Path], None], tuple[str, ...]]] = [
    (
        LAYOUTS["legacy with added_tokens.json"],
        ("vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json", "config.json"),
    ),
    (
        LAYOUTS["BERT's vocab.txt, class in tokenizer_config.json"],
        ("vocab.txt", "tokenizer_config.json"),
    ),
    (SENTENCE_PIECE["T5's spiece.model"], ("spiece.model",)),
    (SENTENCE_PIECE["Llama's tokenizer.model"], ("tokenizer.model",)),
    (
        with_template,
        (
            *("tokenizer.json", "chat_template.jinja", "examples.json", "generation_config.json"),
            "model.safetensors",
        ),
    ),
]
CASES = [(layout, name) for layout, names in FILES for name in names]


@pytest.mark.parametrize(("layout", "name"), CASES, ids=[name for _, name in CASES])
def test_a_pointer_in_place_of_any_file_is_known(tmp_path: Path, layout: Write, name: str) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    save_file(full(tiny_weights(directory)), directory / "model.safetensors")
    layout(directory)
    assert (directory / name).is_file()
    (directory / name).write_text(POINTER.format(7))
    with pytest.raises(CheckpointError) as told:
        check_model(Settings(str(directory), Target("tales", "1.0", tmp_path / "store")))
    assert f"{name} is not here yet" in str(told.value) and "git lfs pull" in str(told.value)


def test_a_pointer_of_another_tokenizer_is_known_too(tmp_path: Path) -> None:
    model, other = tmp_path / "model", tmp_path / "other"
    for directory in (model, other):
        directory.mkdir()
    save_file(full(tiny_weights(model)), model / "model.safetensors")
    LAYOUTS["vocab.json and merges.txt"](model)
    (model / "merges.txt").write_text(POINTER.format(7))
    LAYOUTS["vocab.json and merges.txt"](other)
    assert open_checkpoint(model, "tales", other).tokenizer.get_vocab_size()
    (other / "merges.txt").write_text(POINTER.format(8))
    with pytest.raises(CheckpointError, match=r"merges\.txt is not here yet"):
        open_checkpoint(model, "tales", other)
