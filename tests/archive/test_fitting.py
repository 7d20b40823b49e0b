"""What does not fit the machine is said before work begins, with both numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from archive import fitting, packing
from archive.errors import PackagingError
from archive.package import check_model, package_model
from archive.settings import Settings
from handler.engine.model import ModelShape
from tests.archive.checkpoints import TINY, write_checkpoint


def settings(directory: Path) -> Settings:
    write_checkpoint(directory / "model")
    target = packing.Target("tales", "1.0", directory / "store")
    return Settings(str(directory / "model"), target, precision="fp32")


@pytest.mark.parametrize("run", [package_model, check_model])
def test_too_little_memory_is_refused_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: object
) -> None:
    monkeypatch.setattr(fitting, "available_memory", lambda: 200_000_000)
    with pytest.raises(PackagingError, match=r"memory: about 3\d\d MB are needed.* 200 MB are"):
        run(settings(tmp_path))  # type: ignore[operator]
    assert not (tmp_path / "store").exists()


def test_too_little_disk_is_refused_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=5_000_000)
    monkeypatch.setattr(packing.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(PackagingError, match=r"about 1\d MB are needed, 5 MB are free"):
        package_model(settings(tmp_path))
    assert not list((tmp_path / "store").glob("*"))


def test_larger_models_and_plainer_forms_need_more() -> None:
    large = TINY | {"n_layer": 36, "n_embd": 1280, "n_head": 20, "vocab_size": 50257}
    xl = large | {"n_layer": 48, "n_embd": 1600, "n_head": 25}

    def needed(config: dict[str, object], engine: str, precision: str) -> int:
        return fitting.memory_needed(ModelShape.from_config(config), engine, precision, "auto")

    assert needed(large, "native", "auto") < needed(xl, "native", "auto") < 3_000_000_000
    assert 6_000_000_000 < needed(xl, "native", "fp32") < 8_000_000_000
    assert 6_000_000_000 < needed(xl, "torch", "auto") < 8_000_000_000
