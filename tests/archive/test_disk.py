"""Places that cannot be written to, or are not what they seem: one line says which, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from archive.disk import telling_disk_faults
from archive.errors import PackagingError
from tests.archive.checkpoints import write_checkpoint
from tests.archive.test_package import package


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.mark.parametrize("below", ["", "store", "a/b/c"])
def test_a_link_to_what_is_not_there_is_named(checkpoint: Path, tmp_path: Path, below: str) -> None:
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    done = package(checkpoint, link / below, "--precision", "fp32")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert f"{link} is a link to nowhere, which is not there" in done.stderr
    assert "remove the link" in done.stderr


@pytest.mark.parametrize("below", ["", "store", "a/b/c"])
def test_a_file_where_a_folder_is_needed_is_named(
    checkpoint: Path, tmp_path: Path, below: str
) -> None:
    file = tmp_path / "file"
    file.write_text("a diary")
    done = package(checkpoint, file / below, "--precision", "fp32")
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert f"{file} is a file, and a folder is needed" in done.stderr
    assert file.read_text() == "a diary"


def test_the_place_that_failed_is_named_and_not_the_one_that_was_meant(tmp_path: Path) -> None:
    cache = tmp_path / ".cache"
    cache.symlink_to(tmp_path / "removed")
    with pytest.raises(PackagingError) as told, telling_disk_faults(tmp_path / "store"):
        (cache / "native").mkdir(parents=True, exist_ok=True)
    assert f"{cache} is a link to {tmp_path}/removed" in str(told.value)
    assert "store" not in str(told.value)


@pytest.mark.parametrize("model", ["/dev/null", "x" * 5000, "."])
def test_what_is_no_checkpoint_at_all_is_refused_in_one_line(tmp_path: Path, model: str) -> None:
    done = package(model, tmp_path / "store")
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_file_beside_the_weights_is_not_taken_for_them(
    checkpoint: Path, tmp_path: Path, name: str
) -> None:
    done = package(checkpoint / name, tmp_path / "store")
    assert done.stderr == f"error: {name} is not the weights: name its directory\n"
    (checkpoint / "model.safetensors").unlink()
    done = package(checkpoint, tmp_path / "store")
    assert "no model.safetensors in the checkpoint and no weights in another" in done.stderr
