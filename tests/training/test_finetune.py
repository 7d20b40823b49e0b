import json
import re
from pathlib import Path

from tests.training.conftest import ROOT

EMBEDDED = ROOT / "models" / "gpt2-tales"


def test_the_embedded_model_learns_a_small_text(run_whole, text: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine"
    options = (
        "--no-sweep --steps 12 --context 128 --tokens-per-step 512 --learning-rate 5e-4 "
        "--samples 1 --evaluate-every 12"
    )
    ended = run_whole("--text", text, "--from", EMBEDDED, "--output", output, *options.split())
    assert ended.status == 0, ended.said
    bits = _bits(ended.out)
    assert bits["**this model**"] < 0.6 * bits[f"{EMBEDDED}, before fine-tuning"]
    assert {"Kneser-Ney 4-grams of words", "xz -9, after the training text"} < bits.keys()
    config = json.loads((output / "config.json").read_text())
    assert (
        config["n_positions"] == json.loads((EMBEDDED / "config.json").read_text())["n_positions"]
    )
    assert config["use_cache"] is True
    assert (output / "tokenizer.json").read_text() == (EMBEDDED / "tokenizer.json").read_text()
    tokenizer = json.loads((output / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "is_local" not in tokenizer


def test_figures_of_a_checkpoint_can_be_had_again(run_whole, text: Path, trained: Path) -> None:
    ended = run_whole("--text", text, "--evaluate", trained, "--no-references")
    assert ended.status == 0, ended.said
    card = (trained / "README.md").read_text()
    assert _bits(ended.out)[str(trained)] == _bits(card)["**this model**"]


def _bits(table: str) -> dict[str, float]:
    rows = re.findall(r"^\| ([^|]+) \| (\d+\.\d+) \|", table, re.MULTILINE)
    return {name: float(bits) for name, bits in rows}
