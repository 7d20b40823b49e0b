"""What an archive is called, and that none overwrites what is somebody else's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from archive.errors import PackagingError
from archive.naming import default_name
from tests.archive.checkpoints import ROOT, write_checkpoint


def package(*arguments: object, store: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "archive", "--precision", "fp32", "--output", str(store)]
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=240
    )


def test_each_model_has_its_own_archive_and_only_its_own_is_replaced(tmp_path: Path) -> None:
    mine, yours, store = (tmp_path / name for name in ("a/my gpt2 é", "b/my-gpt2-e", "store"))
    for checkpoint in (mine, yours):
        write_checkpoint(checkpoint)
    for _ in range(2):  # the same model again replaces its archive
        assert package("--model", mine, store=store).returncode == 0
    archive = store / "my-gpt2-e.mar"
    packed = archive.read_bytes()

    refused = package("--model", yours, store=store)
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1
    assert "holds another model (my gpt2 é)" in refused.stderr and "--replace" in refused.stderr
    assert archive.read_bytes() == packed

    done = package("--model", yours, "--name", "your-gpt2.mar", store=store)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in store.iterdir()} == {"my-gpt2-e.mar", "your-gpt2.mar"}
    assert package("--model", yours, "--replace", store=store).returncode == 0
    assert archive.read_bytes() != packed


def facts(path: Path) -> tuple[int, int, int]:
    """What changes with its content."""
    found = path.lstat()
    return found.st_ino, found.st_mtime_ns, found.st_size


@pytest.mark.parametrize("kind", ["a text", "a zip file", "a directory", "a dangling link"])
def test_what_is_no_archive_is_left_alone(tmp_path: Path, kind: str) -> None:
    write_checkpoint(tmp_path / "mine")
    store = tmp_path / "store"
    store.mkdir()
    target = store / "mine.mar"
    if kind == "a text":
        target.write_text("my diary")
    elif kind == "a zip file":
        with zipfile.ZipFile(target, "w") as packed:
            packed.writestr("diary.txt", "my diary")
    elif kind == "a directory":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "nowhere")
    before = facts(target)
    refused = package("--model", tmp_path / "mine", store=store)
    assert refused.returncode == 1 and "mine.mar" in refused.stderr, refused.stderr
    assert facts(target) == before


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt2", "gpt2"),
        ("openai-community/gpt2-xl", "gpt2-xl"),
        ("someone/mine.mar", "mine"),
        ("someone/mine/", "mine"),
        ("https://huggingface.co/someone/mine", "mine"),
        ("-- my  model --", "my-model"),
        ("./modèle (2)", "modele-2"),
        ("a--b", "a-b"),
        ("x" * 99, "x" * 64),
    ],
)
def test_a_name_is_made_of_the_models_own(model: str, name: str) -> None:
    assert default_name(model) == name


def test_a_model_whose_name_has_no_plain_letter_needs_one() -> None:
    with pytest.raises(PackagingError, match="--name is needed"):
        default_name("模型")


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted, which needs root")
def test_a_full_tmpdir_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small]).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        monkeypatch.setenv("TMPDIR", str(small))
        write_checkpoint(tmp_path / "mine")
        store = tmp_path / "store"
        done = package("--model", tmp_path / "mine", "--precision", "auto", store=store)
    finally:
        subprocess.run(["umount", small], check=True)
        shutil.rmtree(small)
    assert done.returncode == 0, done.stderr
