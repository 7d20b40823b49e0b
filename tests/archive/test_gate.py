"""The quality gate: the fastest scheme that is good enough, on the embedded model and others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archive.checkpoint import Checkpoint, load_checkpoint
from archive.gate import Choice, write_model
from archive.layers import FloatSource, Layerwise
from archive.native_build import build_libraries
from archive.progress import Progress
from archive.smoothing import smooth
from archive.text import read_passages
from handler.engine.native_model import choose_library
from tests.archive.checkpoints import (
    EMBEDDED_MODEL,
    twin_with_a_rare_shout,
    twin_with_loud_units,
    twin_with_outliers,
)


@pytest.fixture(scope="module")
def embedded() -> Checkpoint:
    return load_checkpoint(EMBEDDED_MODEL, "gpt2-tales")


def packed(
    checkpoint: Checkpoint, model: Path, precision: str = "auto", windows: int = 4
) -> tuple[Choice, dict[str, Any]]:
    """What was chosen with so many windows of text, and what archive.json says of it."""
    passages = read_passages(checkpoint, None)
    choice = write_model(
        checkpoint.weights,
        checkpoint.shape,
        model,
        precision=precision,
        cache="auto",
        passages=replace(
            passages,
            calibration=passages.calibration[:windows],
            evaluation=passages.evaluation[:windows],
        ),
        say=lambda line: None,
    )
    figures = choice.figures()
    assert figures is not None
    return choice, figures


def test_bytes_cost_the_embedded_model_next_to_nothing(
    embedded: Checkpoint, tmp_path: Path
) -> None:
    choice, figures = packed(embedded, tmp_path, windows=99)
    assert (choice.scheme.name, choice.scheme.cache) == ("int8", "int8")
    assert choice.reason == "the fastest scheme is good enough"
    assert figures["tokens"] >= 8000
    assert abs(figures["perplexity_growth"]) <= 0.003
    assert 0 < figures["kl"] <= 0.002


def test_four_bits_are_measured_by_bounds_of_their_own(
    embedded: Checkpoint, tmp_path: Path
) -> None:
    choice, figures = packed(embedded, tmp_path, "int4", windows=16)
    assert (choice.scheme.name, choice.scheme.precision, choice.scheme.cache) == (
        "int4",
        "int4",
        "int8",
    )
    assert figures["bounds"] == {"perplexity_growth": 0.02, "kl": 0.02}
    assert figures["perplexity_growth"] < 0.016
    assert figures["kl"] < 0.015


def test_a_twin_whose_outliers_four_bits_do_not_bear_is_smoothed(
    embedded: Checkpoint, tmp_path: Path
) -> None:
    choice, figures = packed(twin_with_outliers(embedded, 100), tmp_path, "int4", windows=2)
    assert choice.scheme.precision == "int4"
    assert figures["tried"][-1]["passes"]


@pytest.mark.parametrize("factor", [30, 100])
def test_a_twin_with_outliers_passes_in_bytes(
    embedded: Checkpoint, tmp_path: Path, factor: float
) -> None:
    choice, figures = packed(twin_with_outliers(embedded, factor), tmp_path)
    assert choice.scheme.name in ("int8", "int8 smoothed")
    assert figures["perplexity_growth"] < 0.01


def test_a_twin_with_outliers_after_gelu_keeps_floats_there(
    embedded: Checkpoint, tmp_path: Path
) -> None:
    choice, figures = packed(twin_with_loud_units(embedded, 1000), tmp_path)
    assert choice.scheme.name == "int8 smoothed, contract fp32"
    assert choice.reason.startswith("faster schemes are not good enough (int8: perplexity")
    first, *_, last = figures["tried"]
    assert not first["passes"] and last["passes"]


def test_a_twin_in_which_few_rows_shout_passes_in_bytes(
    embedded: Checkpoint, tmp_path: Path
) -> None:
    choice, _ = packed(twin_with_a_rare_shout(embedded, 4, 1000.0), tmp_path)
    assert choice.scheme.name == "int8"


def test_a_precision_that_is_asked_for_is_measured_too(
    embedded: Checkpoint, tmp_path: Path
) -> None:
    choice, figures = packed(embedded, tmp_path, "int8")
    assert choice.scheme.precision == "int8"
    assert figures["perplexity_growth"] < 0.01


def test_smoothing_leaves_the_function_as_it_is(embedded: Checkpoint) -> None:
    twin = twin_with_outliers(embedded, 100)
    library = choose_library(build_libraries())
    windows = read_passages(embedded, None).calibration[:1]
    progress = Progress("", 99, lambda line: None)
    source = FloatSource(twin.weights, twin.shape)
    smoothed = smooth(source, Layerwise(source, library, 2), windows, progress)
    logits = []
    for weights, shape in (
        (embedded.weights, embedded.shape),
        (twin.weights, twin.shape),
        (smoothed, replace(twin.shape, tied_head=False)),
    ):
        model = Layerwise(FloatSource(weights, shape), library, 2)
        [hidden] = model.hidden(windows, progress)
        logits.append(model.head().logits(hidden[:100]).copy())
    assert np.abs(logits[1] - logits[0]).max() < 2e-3
    assert np.abs(logits[2] - logits[0]).max() < 2e-3
