"""The quality gate: the fastest form that is good enough, on the embedded model and its twins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archive.checkpoint import Checkpoint, load_checkpoint
from archive.native import add_native_model
from archive.text import PROSE
from tests.archive.checkpoints import (
    EMBEDDED_MODEL,
    twin_with_a_rare_shout,
    twin_with_loud_units,
    twin_with_outliers,
)


@pytest.fixture(scope="module")
def embedded() -> Checkpoint:
    return load_checkpoint(EMBEDDED_MODEL, "gpt2-tales")


@pytest.fixture(scope="module")
def short_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "short.txt"
    path.write_text((PROSE / "evaluation.txt").read_text()[:40_000])
    return path


def packed(
    checkpoint: Checkpoint, text: Path | None, model: Path, precision: str = "auto"
) -> dict[str, Any]:
    return add_native_model(checkpoint, precision, "auto", text, model, lambda line: None)


def test_bytes_cost_the_embedded_model_next_to_nothing(
    embedded: Checkpoint, tmp_path: Path
) -> None:
    facts = packed(embedded, None, tmp_path)
    assert (facts["precision"], facts["cache"]) == ("int8", "int8")
    assert facts["quality"]["tokens"] >= 8000
    assert abs(facts["quality"]["perplexity_growth"]) <= 0.003
    assert 0 < facts["quality"]["kl"] <= 0.002


@pytest.mark.parametrize("factor", [30, 100])
def test_a_twin_with_outliers_passes_in_bytes(
    embedded: Checkpoint, short_text: Path, tmp_path: Path, factor: float
) -> None:
    facts = packed(twin_with_outliers(embedded, factor), short_text, tmp_path)
    assert facts["precision"] in ("int8", "int8 smoothed")
    assert facts["quality"]["perplexity_growth"] < 0.01


def test_a_twin_with_outliers_after_gelu_keeps_floats_there(
    embedded: Checkpoint, short_text: Path, tmp_path: Path
) -> None:
    facts = packed(twin_with_loud_units(embedded, 1000), short_text, tmp_path)
    assert facts["precision"] == "int8 smoothed, contract fp32"
    first, *_, last = facts["quality"]["tried"]
    assert not first["passes"] and last["passes"]


def test_a_twin_in_which_few_rows_shout_passes_in_bytes(
    embedded: Checkpoint, short_text: Path, tmp_path: Path
) -> None:
    facts = packed(twin_with_a_rare_shout(embedded, 4, 1000.0), short_text, tmp_path)
    assert facts["precision"] == "int8"


def test_a_precision_that_is_asked_for_is_measured_too(
    embedded: Checkpoint, short_text: Path, tmp_path: Path
) -> None:
    facts = packed(embedded, short_text, tmp_path, "int8")
    assert facts["precision"] == "int8"
    assert facts["quality"]["perplexity_growth"] < 0.01
