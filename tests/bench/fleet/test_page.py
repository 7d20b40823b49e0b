"""docs/scale.md says what the file of results says, and its pictures are there."""

from __future__ import annotations

import json
import re

import pytest

from bench.fleet import report
from bench.fleet.__main__ import MEASURED, RESULTS
from bench.fleet.curve import read
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
FOUND = json.loads(RESULTS.read_text(encoding="utf-8"))
ROWS = FOUND["rows"]


@pytest.mark.parametrize(
    "table",
    [report.steady(ROWS), report.burst(ROWS), report.day(ROWS, 100), report.failures(ROWS)],
)
def test_its_tables_are_those_of_the_results(table: str) -> None:
    assert table.count("\n") >= 3
    assert table in PAGE


def test_the_results_are_of_the_curve_that_was_measured() -> None:
    curve = read(MEASURED)
    assert FOUND["curve"]["from"] == MEASURED.name
    assert FOUND["curve"]["seconds"] == list(curve.seconds)
    assert FOUND["curve"]["prefill"] == curve.prefill


def test_its_pictures_are_small_and_there() -> None:
    names = re.findall(r"images/(fleet-\w+\.png)", PAGE)
    assert names
    for name in names:
        assert 5_000 < (ROOT / "docs" / "images" / name).stat().st_size < 100_000
