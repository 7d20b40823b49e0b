"""docs/cost.md: its costs are those of the speeds that were measured."""

from __future__ import annotations

import json
import re

from tests.conftest import ROOT

COST = ROOT / "docs" / "cost.md"


def flat(text: str) -> str:
    """A page without its line breaks."""
    return " ".join(text.split())


def measured(streams: int) -> tuple[float, float]:
    """Over HTTP: tokens a second once begun, and seconds that each text takes up until then."""
    results = json.loads((ROOT / "bench" / "results" / "latest.json").read_text())
    wanted = ("decode", "gpt2-torchserve int8", "http", streams, 64)
    rates = {
        row["prefill_counted"]: (row["tokens_per_second"], row["new_tokens"])
        for row in results["rows"]
        if row["model"].startswith("gpt2 (")
        and tuple(row[k] for k in ("section", "system", "path", "streams", "prompt_tokens"))
        == wanted
    }
    (rate, tokens), (whole, _) = rates[False], rates[True]
    return rate, tokens / whole - (tokens - 1) / rate  # bench/speed.py: B n / t(n), B (n - 1) / ...


def test_the_costs_are_what_the_formula_gives_for_the_measured_speeds() -> None:
    page = COST.read_text()
    prices = {
        cells[1]: float(cells[2])
        for cells in ([cell.strip() for cell in line.split("|")] for line in page.splitlines())
        if len(cells) > 3 and re.fullmatch(r"0\.?\d*", cells[2])
    }

    def second(way: str, cpus: int = 2) -> float:
        return cpus * prices[f"vCPU-second, {way}"] + 2 * prices[f"GiB-second, {way}"]

    def row(begin: str) -> list[str]:
        [line] = [line for line in page.splitlines() if line.startswith(f"| {begin} |")]
        return [cell.strip() for cell in line.split("|")][2:-1]

    request = prices["a million requests, by the request"] / 1e6
    active, idle = second("active, by the request"), second("idle, kept warm")
    boost = 10 * 2 * prices["vCPU-second, active, by the request"]
    start = 3 * second("active, by the request", cpus=4) + boost
    instance = second("by the instance")
    for words in (
        f"active second is ${active:.6f}",
        f"idle warm\none ${idle:.5f}",
        f"by the instance ${instance:.5f}",
        f"a start ${start:.4f}",
        f"(1 - a) * {idle:.5f}` a second by the request, {instance:.5f} by the instance",
        f"above `a` = {(instance - idle) / (active - idle):.1f}",
    ):
        assert flat(words) in flat(page), words
    for streams, way in ((1, "one after the other"), (8, "8 at a time"), (32, "32 at a time")):
        rate, first = measured(streams)
        each = first + 49 / rate
        cost = 1000 * (each * active + request)
        warm = cost + (86_400 - 1000 * each) * idle
        assert row(way) == [
            *(f"{rate:.0f}", f"{each:.2f} s", f"{1000 * each:.0f}"),
            *(f"${cost:.4f}", f"${cost + start:.4f}", f"${warm:.3f}"),
        ]
    assert f"cost about {100 * cost:.1f} cents when they arrive" in flat(
        (ROOT / "README.md").read_text()
    )
    month = 2_628_000
    assert row("one kept warm, `--min-instances 1`")[0] == f"${month * idle:.0f}"
    always = "one by the instance, `--min-instances 1 --always-cpu`"
    assert row(always)[0].startswith(f"${month * instance:.0f},")
    assert row("boost on (default)")[0] == f"a start ${start:.4f}"
    assert row("boost off (annotation in `service.yaml`)")[0] == f"a start ${3 * active:.5f}"
    texts = 3 * month / each
    assert f"= ${3 * month * active:.0f} a month" in flat(page)
    assert f"they would write {texts / 1e6:.0f} million" in flat(page)
    assert f"which is ${texts * request:.0f} for the requests" in flat(page)
