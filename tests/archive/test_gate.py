from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from archive.calibration import calibrate
from archive.checkpoint import Checkpoint, load_checkpoint
from archive.gate import Choice, choose
from archive.graph import build_graph
from archive.plan import uniform_plan
from archive.products import Form
from archive.text import PROSE, read_passages
from tests.archive.checkpoints import (
    EMBEDDED_MODEL,
    twin_with_a_rare_shout,
    twin_with_loud_units,
    twin_with_outliers,
)
from tests.archive.slots import Slots


@pytest.fixture(scope="module")
def embedded() -> Checkpoint:
    return load_checkpoint(EMBEDDED_MODEL, "gpt2-tales")


@pytest.fixture(scope="module")
def short_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "short.txt"
    path.write_text((PROSE / "evaluation.txt").read_text()[:40_000])
    return path


def choice_for(checkpoint: Checkpoint, text: Path | None, precision: str = "auto") -> Choice:
    return choose(checkpoint, precision, "auto", text, lambda line: None)


def test_the_embedded_model_takes_the_fastest_form_at_under_one_percent(
    embedded: Checkpoint,
) -> None:
    figures = choice_for(embedded, None).figures()
    assert figures is not None
    assert figures["tokens"] >= 8000
    assert figures["tried"][0]["precision"] == "int8 static 7-bit"
    assert figures["tried"][0]["cache"] == "int8"
    assert abs(figures["perplexity_growth"]) < 0.01
    assert 0 < figures["kl"] < 0.01


@pytest.mark.parametrize("form", ["rows-7bit", "rows-8bit"])
def test_each_other_integer_form_costs_under_one_percent(
    embedded: Checkpoint, short_text: Path, form: str
) -> None:
    choice = choice_for(embedded, short_text, form)
    assert choice.reason == "asked for"
    assert choice.trials[0].quality.passes


@pytest.mark.parametrize("factor", [30, 100])
def test_a_twin_with_outliers_passes_in_an_integer_form(
    embedded: Checkpoint, short_text: Path, factor: float
) -> None:
    choice = choice_for(twin_with_outliers(embedded, factor), short_text)
    assert choice.plan.precision == "int8 static 7-bit"
    assert choice.trials[-1].quality.growth < 0.01


def test_a_twin_with_outliers_after_gelu_falls_back_and_says_why(
    embedded: Checkpoint, short_text: Path
) -> None:
    choice = choice_for(twin_with_loud_units(embedded, 1000), short_text)
    assert choice.plan.precision == "fp32"
    assert "not good enough" in choice.reason and "perplexity" in choice.reason
    tried = [trial.plan.precision for trial in choice.trials]
    assert {"int8 static 7-bit", "int8 rows 7-bit", "int8 rows 8-bit"} <= set(tried)
    assert not any(trial.quality.passes for trial in choice.trials[:-1])


def test_a_twin_in_which_few_rows_stretch_the_range_takes_rows_there_alone(
    embedded: Checkpoint, short_text: Path
) -> None:
    choice = choice_for(twin_with_a_rare_shout(embedded, 4, 1000.0), short_text)
    first, *_, last = choice.trials
    assert first.plan.precision == "int8 static 7-bit" and not first.quality.passes
    assert last.quality.passes and choice.plan is last.plan
    taken_by_rows = {name for name, form in choice.plan.forms.items() if form is Form.ROWS_7BIT}
    assert taken_by_rows == {"h.4.mlp.c_proj"}
    assert choice.reason.startswith("faster forms are not good enough (int8 static 7-bit: ")


def test_smoothing_leaves_the_function_as_it_is(embedded: Checkpoint) -> None:
    twin = twin_with_outliers(embedded, 100)
    windows = read_passages(embedded, None).calibration[:2]
    smoothed = calibrate(twin.shape, twin.weights, windows).weights
    plan = uniform_plan(embedded.shape, Form.FP32, {})
    logits = [
        Slots(build_graph(embedded.shape, weights, plan), embedded.shape, 1).run(
            windows[0][None], np.array([0])
        )
        for weights in (embedded.weights, twin.weights, smoothed)
    ]
    assert np.abs(logits[1] - logits[0]).max() < 2e-3
    assert np.abs(logits[2] - logits[0]).max() < 2e-3


def test_a_precision_that_is_asked_for_is_measured_too(
    embedded: Checkpoint, short_text: Path
) -> None:
    choice = choice_for(twin_with_loud_units(embedded, 1000), short_text, "static-7bit")
    assert choice.plan.precision == "int8 static 7-bit"
    assert choice.reason.startswith("asked for, though perplexity")
