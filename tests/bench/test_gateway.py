"""The gateway's cost is measured on the real thing, judged, and kept beside other results."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import limits, merge, report
from bench.environments import SetUpError
from bench.gateway import GatewayFigures, measure, running
from bench.plan import QUICK
from bench.rows import Row
from bench.stream import Connection, Way
from bench.targets import gateway_ratios
from gateway.torchserve.process import TorchServe

MACHINE = limits.Limits("a CPU", "avx2", 2, 16.0, 30.0, 40.0, 1000.0, 100.0)
FIGURES = GatewayFigures(
    "a model", 32, 128, 9, 5.0, 43.0, 970.0, 1000.0, 0.97, 0.9, 1.0, 15.0, 4.6, 4.0
)


def row(section: str, rate: float, *, path: str = "engine", model: str = "a model") -> Row:
    made = Row(section, "a system", model, path, 8, 64, 128, prefill_counted=False)
    made.rate([rate])
    return made


def write(path: Path, rows: list[Row], sections: list[str], commit: str = "first") -> None:
    about = {"sections": sections, "commit": commit, "plan": {"quick": False}}
    report.write_json(path, MACHINE, rows, [], [], about, FIGURES)


def test_what_the_gateway_costs_is_measured(model_store: Path) -> None:
    plan = replace(QUICK, slots=4, gateway_pairs=2, gateway_tokens=16, gateway_first_tokens=4)
    found = measure(model_store, "embedded", plan)
    assert (found.streams, found.new_tokens, found.pairs) == (4, 16, 2)
    assert found.ratio_least <= found.ratio <= found.ratio_most
    assert 0.1 < found.ratio < 10
    assert 0 <= found.cpu_us_per_chunk < 5000
    assert found.direct_ttft_ms > 0.5
    assert 20 < found.idle_rss_mb < 300
    assert found.ready_seconds > 0.5


def test_a_gateway_that_can_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="gpt2.mar"), running(tmp_path):
        pass


def test_chunks_are_counted_once_and_a_reply_that_is_not_whole_is_no_figure(
    torchserve: TorchServe,
) -> None:
    port = torchserve.settings.ports.inference

    async def ask(path: str, *lengths: int) -> list[int]:
        connection = await Connection.open(Way(port, path))
        try:
            fields = ({"prompt": "Once", "max_tokens": n, "ignore_eos": True} for n in lengths)
            return [len(await connection.complete(each)) for each in fields]
        finally:
            connection.close()

    path = "/predictions/gpt2/1.0/v1/completions"
    assert asyncio.run(ask(path, 1, 7, 40)) == [1, 7, 40]
    with pytest.raises(RuntimeError, match=r'expected "completion_tokens":100000,'):
        asyncio.run(ask(path, 100_000))  # written to the end of the context, no further
    with pytest.raises(RuntimeError, match="404"):
        asyncio.run(ask("/predictions/nothing/1.0/v1/completions", 1))


def test_the_gateway_is_judged_by_rate_cpu_first_token_and_memory() -> None:
    assert [ratio.verdict for ratio in gateway_ratios(FIGURES)] == ["floor", "aim", "aim", "aim"]
    worse = replace(FIGURES, ratio=0.92, cpu_us_per_chunk=81.0, ttft_ms=7.5, idle_rss_mb=81.0)
    assert {ratio.verdict for ratio in gateway_ratios(worse)} == {"missed"}
    table = report.gateway_table(FIGURES)
    assert all(figure in table for figure in ("0.970", "15.0", "0.60", "43.0", "5.0"))


def test_sections_that_were_not_measured_anew_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "latest.json"
    write(path, [row("decode", 1), row("decode", 2, path="http"), row("churn", 3)], ["decode"])
    earlier = merge.read(path, MACHINE, quick=False)
    assert earlier.gateway == FIGURES
    found = earlier.with_rows([row("decode", 5), row("decode", 6, model="another")])
    rates = {(r.section, r.path, r.model): r.tokens_per_second for r in found}
    assert rates == {
        ("decode", "engine", "a model"): 5,
        ("decode", "http", "a model"): 2,
        ("churn", "engine", "a model"): 3,
        ("decode", "engine", "another"): 6,
    }
    assert [r.model for r in found] == ["a model"] * 3 + ["another"]


def test_each_section_says_which_run_it_is_from(tmp_path: Path) -> None:
    path = tmp_path / "latest.json"
    write(path, [row("decode", 1)], ["decode"])
    gateway = {"sections": ["gateway"], "commit": "second", "plan": {"quick": False}}
    about = merge.read(path, MACHINE, quick=False).with_about(gateway, MACHINE, [])
    assert (about["commit"], about["later"][0]["commit"]) == ("first", "second")
    report.write_json(path, MACHINE, [row("decode", 1)], [], [], about, FIGURES)
    decode = {"sections": ["decode"], "commit": "third", "plan": {"quick": False}}
    last = merge.read(path, MACHINE, quick=False).with_about(decode, MACHINE, [row("decode", 2)])
    assert last["commit"] == "third"
    assert [run["commit"] for run in last["later"]] == ["second"]


def test_results_that_do_not_go_together_are_not_joined(tmp_path: Path) -> None:
    path = tmp_path / "latest.json"
    assert merge.read(path, MACHINE, quick=False) == merge.Earlier()
    write(path, [], ["gateway"])
    with pytest.raises(SetUpError, match="another machine"):
        merge.read(path, replace(MACHINE, cpu="another CPU"), quick=False)
    with pytest.raises(SetUpError, match="another machine"):
        merge.read(path, replace(MACHINE, instructions="avx2 avx512f"), quick=False)
    with pytest.raises(SetUpError, match="--quick"):
        merge.read(path, MACHINE, quick=True)
    path.write_text(json.dumps({"rows": []}))
    with pytest.raises(SetUpError, match="another version"):
        merge.read(path, MACHINE, quick=False)
