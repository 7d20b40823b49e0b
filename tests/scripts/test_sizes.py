"""What a person is told of sizes before anything is installed is what comes."""

from __future__ import annotations

import json
import re

import pytest

from commands import measure, sizes
from commands.groups import Groups
from commands.serve import GROUPS
from tests.conftest import ROOT

KNOWN = json.loads(sizes.FILE.read_text(encoding="utf-8"))
# Of a package that is there to compare with: another platform's wheel is not as large.
TOLERANCE = 0.25
LARGE = 5.0  # MB


def test_every_group_is_known_with_all_that_it_brings() -> None:
    groups = Groups(ROOT)
    assert set(KNOWN["groups"]) == set(groups.names) - {"compile"}
    for name, packages in KNOWN["groups"].items():
        # Markers of another Python make a difference of a backport or two.
        assert len(measure.closure(groups.requirements([name])) ^ set(packages)) <= 3, name


@pytest.mark.parametrize("package", [k for k, v in KNOWN["packages"].items() if v[1] > LARGE])
def test_a_large_package_leaves_what_was_said(package: str) -> None:
    _, said = KNOWN["packages"][package]
    assert measure.left_by(package) == pytest.approx(said, rel=TOLERANCE)


def test_what_is_there_is_not_counted_again() -> None:
    alone, beside = sizes.of(["train"]), sizes.of(["train"], ["serve", "package"])
    both = sizes.of(["serve", "package", "train"])
    assert beside.left < alone.left < both.left
    assert both.left == pytest.approx(sizes.of(["serve", "package"]).left + beside.left, abs=2)


def test_the_table_in_the_docs_says_the_same() -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `\./scripts/(\w+)` \| ([\w, ]+) \| ([\d,]+) \| ([\d,]+) \|$", page, re.M
    )
    assert {"serve", "package_model", "train_model", "bench", "deploy", "docs", "test"} == {
        name for name, *_ in rows
    }
    for name, groups, *figures in rows:
        size = sizes.of(groups.split(", "))
        assert figures == [f"{size.fetched:,}", f"{size.left:,}"], name


def test_the_readme_says_what_the_first_start_takes() -> None:
    size = sizes.of(GROUPS)
    words = (ROOT / "README.md").read_text(encoding="utf-8")
    [said] = re.findall(r"downloads about (\d+) MB, uses (\d+) MB", words.replace("\n", " "))
    compiler = 100
    assert int(said[0]) == pytest.approx(size.fetched + compiler, abs=15)
    assert int(said[1]) == pytest.approx(size.left, abs=15)
