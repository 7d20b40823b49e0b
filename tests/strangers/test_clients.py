"""The light ones of other people's clients, as ./scripts/clients runs them all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from strangers import report
from strangers.catalogue import STRANGERS
from strangers.environments import HOME, Home, Missing
from strangers.running import Outcome, run_check
from strangers.served import Served
from strangers.stranger import CHECKS, RUN, Stranger

LIGHT = [each for each in STRANGERS if each.is_light]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"))
    yield made
    made.stop()


@pytest.mark.parametrize("stranger", LIGHT, ids=lambda each: each.name)
def test_it_does_all_that_it_has_words_for(
    served: Served, stranger: Stranger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # as ./scripts/clients is run
    HOME.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(HOME / f"{stranger.name}.lock"):
            Home(stranger).ensure(print)
    except Missing as missing:
        pytest.skip(str(missing))
    outcomes = {check: run_check(stranger, check, served) for check in stranger.checks}
    assert {check: each.why for check, each in outcomes.items() if not each.holds} == {}


def test_what_does_not_hold_is_told(served: Served) -> None:
    """A client that is sent elsewhere fails each check, and says by what."""
    stranger = next(each for each in STRANGERS if each.name == "curl")
    url, served.url = served.url, "http://127.0.0.1:9"
    try:
        outcome = run_check(stranger, "call", served)
    finally:
        served.url = url
    assert not outcome.holds and outcome.why


def test_every_client_is_asked_something_that_there_is() -> None:
    names = [each.name for each in STRANGERS]
    assert len(names) == len(set(names))
    for each in STRANGERS:
        assert each.checks and set(each.checks) <= {*CHECKS, RUN}
        assert all("==" in one or "@" in one for one in each.installs), each.name


def test_a_run_of_some_leaves_the_rows_of_the_others(tmp_path: Path) -> None:
    page = tmp_path / "clients.md"
    first, second, third = STRANGERS[:3]

    def ran(
        stranger: Stranger, version: str, why: str = ""
    ) -> dict[Stranger, tuple[str, dict[str, Outcome]]]:
        return {stranger: (version, {check: Outcome(why, 1.0) for check in stranger.checks})}

    report.write(ran(third, "1") | ran(first, "1"), page)
    report.write(ran(second, "2", "it hung") | ran(first, "2"), page)
    rows = [line for line in page.read_text().splitlines() if line.startswith("| ")][1:]
    assert [row.split(" | ")[1] for row in rows] == ["2", "2", "1"]
    assert [row.count("**no**") for row in rows] == [0, len(second.checks), 0]
