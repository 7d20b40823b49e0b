"""What other tools write is a start as good as a checkpoint of transformers."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.training.conftest import ROOT, Ended
from tests.training.text import tales
from training.errors import TrainingError
from training.model import load_model
from training.vocabulary import encode_chunks, load_tokenizer

EMBEDDED = ROOT / "models" / "gpt2-tales"


def as_bin(directory: Path) -> Path:
    weights = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    torch.save(weights, directory / "pytorch_model.bin")
    return directory


def as_shards(directory: Path) -> Path:
    model = load_model(str(EMBEDDED))
    (directory / "model.safetensors").unlink()
    model.save_pretrained(directory, max_shard_size="10MB")
    return directory


def as_a_file(directory: Path) -> Path:
    (directory / "model.safetensors").rename(directory / "tales.safetensors")
    return directory / "tales.safetensors"


@pytest.mark.parametrize("form", [as_bin, as_shards, as_a_file])
def test_another_form_gives_the_same_model_and_the_same_tokens(
    form: Callable[[Path], Path], tmp_path: Path
) -> None:
    source = str(form(Path(shutil.copytree(EMBEDDED, tmp_path / "model"))))
    ours, theirs = load_model(str(EMBEDDED)), load_model(source)
    ids = torch.arange(1, 65)[None]
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(ids).logits, ours.eval()(ids).logits)
    assert theirs.config.bos_token_id == ours.config.bos_token_id
    chunks = [
        encode_chunks(load_tokenizer(name), [tales(9)], 0)[0].tolist()
        for name in (source, str(EMBEDDED))
    ]
    assert chunks[0] == chunks[1]


def test_a_run_starts_from_another_form(
    trained: Path, text: Path, run_whole: Callable[..., Ended], tmp_path: Path
) -> None:
    source = as_bin(Path(shutil.copytree(trained, tmp_path / "model")))
    options = ("--steps", 2, "--context", 64, "--samples", 1, "--no-references", "--no-sweep")
    ended = run_whole("--text", text, "--from", source, "--output", tmp_path / "out", *options)
    assert ended.status == 0, ended.said
    assert load_tokenizer(str(tmp_path / "out")).eos_token == "<|endoftext|>"


def test_what_is_damaged_is_one_line(tmp_path: Path) -> None:
    directory = as_bin(Path(shutil.copytree(EMBEDDED, tmp_path / "model")))
    file = directory / "pytorch_model.bin"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(TrainingError, match=r"pytorch_model\.bin"):
        load_model(str(directory))
    save_file({"x": torch.zeros(1)}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(TrainingError, match="is an adapter"):
        load_model(str(tmp_path))
