"""What is sent to a build: little, no keys, and the same for Docker and for Google."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from deploy import context
from tests.conftest import MAY_BE_MISSING, ROOT
from tests.container.conftest import Contract

MOST_MEGABYTES = 3  # without the model


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files of the context, and some that lie about."""
    for path in context.files():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    shutil.copy(ROOT / ".dockerignore", tmp_path / ".gcloudignore")
    shutil.copy(ROOT / ".dockerignore", tmp_path / ".dockerignore")
    about = ("keys.txt", ".env", ".env.local", "deploy/plan.py", "handler/__pycache__/a.pyc")
    for name in (*about, "docs/a.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("not for the image")
    return tmp_path


def test_it_is_small(contract: Contract) -> None:
    paths = [path for path in context.files() if path.parts[0] != context.MODELS]
    megabytes = sum((ROOT / path).stat().st_size for path in paths) / 1e6
    contract.point(
        f"a context of at most {MOST_MEGABYTES:g} MB beside the model",
        f"{megabytes:.1f} MB in {len(paths)} files",
    )
    assert megabytes <= MOST_MEGABYTES


def test_it_holds_all_that_the_dockerfile_copies() -> None:
    paths = [str(path) for path in context.files()]
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and not words[1].startswith("--"):
            for source in words[1:-1]:
                assert any(path == source or path.startswith(f"{source}/") for path in paths), (
                    source
                )


def test_what_lies_about_is_not_sent(copy: Path) -> None:
    assert list(context.files(copy)) == list(context.files())


def test_what_is_in_it_decides_on_the_digest(copy: Path) -> None:
    before = context.digest("gpt2", copy)
    (copy / "keys.txt").write_text("other keys")
    assert context.digest("gpt2", copy) == before
    assert context.digest("distilgpt2", copy) != before
    (copy / "config.properties").write_text("other settings")
    assert context.digest("gpt2", copy) != before


@pytest.mark.skipif(not shutil.which("gcloud"), reason=MAY_BE_MISSING)
def test_google_reads_the_ignore_file_alike(copy: Path) -> None:
    done = subprocess.run(
        ["gcloud", "meta", "list-files-for-upload", str(copy)],
        capture_output=True,
        text=True,
        check=True,
    )
    sent = sorted(line for line in done.stdout.splitlines() if line)
    assert sent == sorted(str(path) for path in context.files(copy))
