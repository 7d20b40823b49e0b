"""Checkouts as people get them: by a git that writes Windows' line ends, and as a zip file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import context
from tests.conftest import ROOT
from tests.gateway.conftest import Service

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
TEXT = {".py", ".sh", ".md", ".yaml", ".properties", ".xml", ".js", ".css", ".html", ""}


def git(*words: str | Path, at: Path) -> None:
    subprocess.run([*GIT, *words], cwd=at, check=True, capture_output=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the files of this checkout, as they are now."""
    place = tmp_path_factory.mktemp("repository") / "here"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
    )
    if listed.returncode:
        pytest.skip("this checkout has no git")
    for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    git("init", "--quiet", at=place)
    git("add", "--all", at=place)
    git("commit", "--quiet", "--message", "all", at=place)
    return place


@pytest.fixture(scope="module")
def checkout(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git makes of it on Windows."""
    place = tmp_path_factory.mktemp("windows") / "checkout"
    git("clone", "--quiet", "--config", "core.autocrlf=true", repository, place, at=repository)
    return place


def test_no_line_ends_as_on_windows(checkout: Path) -> None:
    wrong = [
        str(path.relative_to(checkout))
        for path in checkout.rglob("*")
        if path.is_file() and ".git" not in path.parts and path.suffix in TEXT
        if b"\r\n" in path.read_bytes()
    ]
    assert not wrong


def test_every_script_is_bash_and_begins(checkout: Path) -> None:
    for script in (checkout / "scripts").iterdir():
        subprocess.run(["bash", "-n", script], check=True)
    done = subprocess.run(
        ["./scripts/serve", "--help"], cwd=checkout, capture_output=True, text=True
    )
    assert done.returncode == 0 and "usage: ./scripts/serve " in done.stdout


def test_the_image_is_built_from_the_same_files(repository: Path, checkout: Path) -> None:
    assert context.digest("a", checkout) == context.digest("a", repository)


def test_it_serves(checkout: Path, model_store: Path) -> None:
    service = Service(model_store, root=checkout, PYTHONPATH=str(checkout))
    try:
        assert service.wait_ready().complete(max_tokens=2).status_code == 200
    finally:
        service.stop()


def test_a_zip_file_of_the_sources_serves_without_git(
    repository: Path, model_store: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "sources.zip"
    git("archive", "--format=zip", "--prefix=gpt2/", "--output", archive, "HEAD", at=repository)
    subprocess.run([sys.executable, "-m", "zipfile", "-e", archive, tmp_path], check=True)
    place = tmp_path / "gpt2"
    assert not (place / ".git").exists()
    assert context.digest("a", place) == context.digest("a", repository)
    service = Service(model_store, root=place, PYTHONPATH=str(place))
    try:
        assert service.wait_ready().complete(max_tokens=2).status_code == 200
    finally:
        service.stop()
