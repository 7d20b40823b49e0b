"""From runs to rows, ratios, JSON and picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import limits, plot, report
from bench.__main__ import main
from bench.checkpoints import embedded
from bench.convert.gguf import gguf_name
from bench.plan import Plan
from bench.rows import Prompts, Row, percentile
from bench.systems import LLAMA_CPP, OURS, PARENT, TRANSFORMERS_GENERATE, Bench
from bench.targets import Ratio, Ratios

MODEL = "a model"


def row(
    system: str, rate: float, *, path: str = "engine", streams: int = 8, section: str = "decode"
) -> Row:
    made = Row(section, system, MODEL, path, streams, 64, 128, prefill_counted=False)
    made.rate([rate - 1, rate, rate + 2])
    made.first_tokens([0.010, 0.020, 0.030])
    return made


def machine() -> limits.Limits:
    return limits.Limits("a CPU", "avx2", 2, 16.0, 30.0, 40.0, 1000.0, 100.0)


def test_a_row_holds_the_median_and_the_spread() -> None:
    made = row(OURS, 100.0)
    assert (made.tokens_per_second, made.least, made.most, made.runs) == (100.0, 99.0, 102.0, 3)
    assert (made.ttft_ms_p50, made.ttft_ms_p99) == (20.0, 30.0)


def test_percentiles_are_values_that_were_seen() -> None:
    assert percentile([5.0], 0.99) == 5.0
    assert percentile([float(n) for n in range(1, 101)], 0.99) == 99.0


def test_ratios_are_judged_against_floor_and_aim() -> None:
    served = row(OURS, 200.0, path="http")
    served.share_of_engine = 0.79  # of a rate in the same rounds, not of the row above
    rows = [row(OURS, 350.0), row(LLAMA_CPP, 100.0), served, row(PARENT, 160.0, path="http")]
    found = {ratio.name: ratio for ratio in Ratios(rows, MODEL).found}
    over = found[f"decode, 8 streams, over {LLAMA_CPP}"]
    assert (over.value, over.verdict) == (3.5, "floor")
    share = found["decode over HTTP, 8 streams, share of the engine's"]
    assert (share.value, share.verdict) == (0.79, "missed")
    over = found[f"decode over HTTP, 8 streams, over {PARENT}"]
    assert (over.value, over.verdict) == (1.25, "missed")
    assert not any(TRANSFORMERS_GENERATE in name for name in found)


def test_starts_are_judged_beside_the_parents_and_memory_beside_the_weights() -> None:
    starts = []
    for system, seconds in ((OURS, 3.0), (PARENT, 4.0)):
        made = Row("cold", system, MODEL, "http", 1, 2, 1, prefill_counted=True)
        made.start_seconds, made.workers_mb = seconds, 240.0
        starts.append(made)
    starts[0].weights_mb = 205.0
    found = {ratio.name: ratio for ratio in Ratios(starts, MODEL).found}
    cold = found[f"cold start to the first token, over {PARENT}"]
    assert (cold.value, cold.verdict) == (0.75, "aim")
    idle = found["memory of an idle worker beyond its weights, MB"]
    assert (idle.value, idle.verdict) == (35.0, "missed")


def test_a_text_is_judged_by_the_rate_at_which_weights_can_be_read() -> None:
    made = row(OURS, 250.0, streams=1)
    made.share_of_limit = 0.8
    [ratio] = Ratios([made], MODEL).found
    assert (ratio.value, ratio.verdict) == (0.8, "floor")


@pytest.mark.parametrize(("value", "verdict"), [(0.3, "aim"), (0.5, "floor"), (0.8, "missed")])
def test_less_time_is_better(value: float, verdict: str) -> None:
    assert Ratio("time", value, 0.7, 0.4, less_is_better=True).verdict == verdict


def test_memory_is_judged_from_the_first_tenth_on_of_worker_and_server() -> None:
    rows = []
    for part, (server, worker) in enumerate([(500.0, 300.0), (600.0, 349.0), (612.0, 356.0)]):
        made = Row("memory", OURS, MODEL, "http", 32, 128, 8, prefill_counted=True)
        made.rss_mb, made.workers_mb, made.weights_mb = server, worker, 268.0
        made.note = f"after {1000 * part} requests"
        rows.append(made)
    found = {ratio.name: ratio for ratio in Ratios(rows, MODEL).found}
    worker = found["memory of the worker grown from request 1000 to 2000, MB"]
    server = found["memory of the server grown from request 1000 to 2000, MB"]
    assert (worker.value, worker.verdict) == (7.0, "missed")
    assert (server.value, server.verdict) == (12.0, "floor")
    assert found["memory of an idle worker beyond its weights, MB"].value == 32.0


def test_a_limit_is_the_slower_of_reading_and_products() -> None:
    checkpoint = embedded()
    products = checkpoint.product_parameters
    one = machine().tokens_per_second(OURS, checkpoint, 1)
    assert one == pytest.approx(40e9 / products)
    many = machine().tokens_per_second(OURS, checkpoint, 10_000)
    assert many == pytest.approx(1000e9 / (2 * products))


def test_results_are_written_for_people_and_programs(tmp_path: Path) -> None:
    rows = [row(OURS, 250.0), row(LLAMA_CPP, 100.0), row(OURS, 90.0, section="batch")]
    ratios = Ratios(rows, MODEL).found
    report.write_json(tmp_path / "latest.json", machine(), rows, ratios, [], {"commit": "x"})
    content = json.loads((tmp_path / "latest.json").read_text())
    assert content["machine"]["cpu"] == "a CPU"
    wanted = {"system", "model", "path", "streams", "prompt_tokens", "new_tokens"}
    wanted |= {"prefill_counted", "tokens_per_second", "ttft_ms_p50", "ttft_ms_p99", "rss_mb"}
    assert wanted <= set(content["rows"][0])
    assert LLAMA_CPP in report.table(rows)
    assert "floor" in report.ratio_table(ratios)
    plot.draw(tmp_path / "latest.png", rows, MODEL)
    assert (tmp_path / "latest.png").read_bytes().startswith(b"\x89PNG")


def test_prompts_never_repeat_and_stay_in_the_vocabulary() -> None:
    prompts = Prompts(1000)
    made = prompts.many(50, 8)
    assert len({tuple(prompt) for prompt in made}) == 50
    assert all(1 <= token < 999 for prompt in made for token in prompt)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("transformer.h.3.attn.c_attn.weight", "blk.3.attn_qkv.weight"),
        ("h.0.mlp.c_proj.bias", "blk.0.ffn_down.bias"),
        ("wpe.weight", "position_embd.weight"),
        ("h.0.attn.bias", None),
        ("lm_head.weight", None),
    ],
)
def test_tensors_get_the_names_that_llama_cpp_knows(name: str, wanted: str | None) -> None:
    assert gguf_name(name) == wanted


def test_an_unknown_section_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--only", "decode,lunch"])
    assert caught.value.code == 2
    assert "lunch" in capsys.readouterr().err


def test_a_peer_that_cannot_be_had_is_left_out_and_our_own_that_breaks_is_a_failure() -> None:
    said: list[str] = []
    bench = Bench(Plan(), said.append)
    bench.leave_out(LLAMA_CPP, RuntimeError("no compiler"), LLAMA_CPP)
    assert said == [f"left out: {LLAMA_CPP}: no compiler"] and not bench.broken
    bench.leave_out(f"{OURS} over HTTP", RuntimeError("ended (-8)"), OURS)
    assert bench.broken == [f"{OURS} over HTTP"]
