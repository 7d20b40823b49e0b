"""Processes that want the native engine at the same time: one builds it, and it is built once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from archive import native_build
from archive.native_build import build_libraries, source_hash
from tests.patience import PATIENCE


def test_who_comes_second_waits_and_takes_what_was_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = threading.Event()
    built = []

    def build(ready: Path, say: Callable[[str], None]) -> None:
        assert waits.wait(PATIENCE)
        ready.mkdir()
        built.append(ready)

    def say(line: str) -> None:
        if line.startswith("Waiting"):
            waits.set()

    monkeypatch.setattr(native_build, "_build_all", build)
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda _: build_libraries(say, tmp_path), range(2)))
    assert folders == [tmp_path / source_hash()] * 2
    assert len(built) == 1


def test_what_a_killed_build_left_goes_with_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / f"{native_build.SCRATCH}of-another"
    (left / "compiler").mkdir(parents=True)
    monkeypatch.setattr(native_build, "_build_all", lambda ready, say: ready.mkdir())
    assert build_libraries(lambda _: None, tmp_path).is_dir()
    assert not left.exists()
