"""A damaged archive never serves: a flipped bit is told with the file's name, a wrong text too."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from handler.archive_metadata import ArchiveMetadata
from handler.engine.errors import ModelError
from handler.service import Service
from handler.start_checks import file_digests
from tests.handler.native.conftest import HERE

FILES = (
    "model/model.native.safetensors",
    "model/tokenizer.json",
    "model/config.json",
    "handler/engine/native/lib/libgpt2-neon-i8mm.so",
)


@pytest.fixture
def archive(archives: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(archives["int8"], tmp_path / "archive"))


def load(directory: Path, **more: Any) -> Service:
    config = {"engine": {"slots": 2, "threads": 2}}
    service = Service.load(directory, name="gpt2", version="1", config=config, max_tokens=5, **more)
    service.engine.stop()
    return service


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.3, 1.0], ids=["within", "at the end"])
def test_a_flipped_bit_is_told_with_the_files_name(archive: Path, name: str, place: float) -> None:
    with (archive / name).open("r+b") as file:
        offset = int((os.path.getsize(archive / name) - 1) * place)
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 4]))
    with pytest.raises(ModelError, match=f"^{name} is damaged"):
        load(archive)


def test_every_file_of_the_model_has_a_digest(archive: Path) -> None:
    metadata = ArchiveMetadata.read(archive / "model")
    assert set(FILES) <= metadata.files.keys()
    assert metadata.files == file_digests(archive)
    held = {f"model/{path.name}" for path in (archive / "model").iterdir()}
    assert held - metadata.files.keys() == {"model/archive.json"}


def test_a_file_that_is_gone_is_told(archive: Path) -> None:
    (archive / FILES[3]).unlink()
    with pytest.raises(ModelError, match=f"the archive has no {FILES[3]}"):
        load(archive)


def change(archive: Path, **metadata: Any) -> None:
    path = archive / "model" / "archive.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | metadata))


def test_another_text_than_when_it_was_packed_ends_the_start(archive: Path) -> None:
    change(archive, self_test="0" * 64)
    with pytest.raises(ModelError, match="output has changed since it was packed"):
        load(archive)
    assert load(archive, is_checked=False).self_test != "0" * 64


@pytest.mark.parametrize("isa", HERE)
def test_the_text_is_the_same_on_every_processor(
    archive: Path, isa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_ISA", isa)
    assert load(archive).self_test == ArchiveMetadata.read(archive / "model").self_test


def test_torch_is_not_held_to_a_text(archives: dict[str, Path], tmp_path: Path) -> None:
    archive = Path(shutil.copytree(archives["torch"], tmp_path / "archive"))
    change(archive, self_test="0" * 64)
    config = {"engine": {"kind": "torch", "slots": 2, "threads": 2}}
    Service.load(archive, name="a", version="1", config=config, max_tokens=5).engine.stop()
