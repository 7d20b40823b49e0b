import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import GPT2LMHeadModel

from tests.training.conftest import ROOT, TINY, Ended
from tests.training.text import tales
from training.__main__ import name_of


def test_a_run_leaves_a_checkpoint_that_loads_and_has_learnt(trained: Path) -> None:
    model = GPT2LMHeadModel.from_pretrained(trained)
    assert model.dtype == torch.float16
    assert model.config.n_positions == 64
    before = json.loads((trained / "before.json").read_text())["bits_per_character"]
    assert 0.3 < _bits_in_card(trained) < 0.6 * before
    assert (trained / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((trained / "generation_config.json").read_text())["top_p"] == 0.95
    assert all(isinstance(prompt, str) for prompt in json.loads(_read(trained, "examples.json")))


def test_progress_tells_step_loss_speed_and_time_left(trained: Path) -> None:
    said = _read(trained, "said.txt")
    assert "step 30/30" in said
    assert "tokens/s" in said and " left" in said
    assert "held-out loss" in said


def test_the_card_has_settings_figures_samples_and_limits(trained: Path) -> None:
    card = _read(trained, "README.md")
    for part in ("2 layers x 64", "30 steps", "| **this model** |", "Seed 1:", "## Limits"):
        assert part in card
    assert "tales.txt" in card
    assert str(trained.parent) not in card


# From a context of 256 on, the first three quarters of the steps see windows of half of it.
TWO_PHASES = ("--context", 256, "--steps", 16, "--save-every", 2)
# 200 steps are planned for a text that is learnt by heart before.
UNTIL_LOSS_GOES_UP = ("--lora", 4, "--context", 64, "--tokens-per-step", 64, "--save-every", 7)


@pytest.mark.parametrize(
    ("options", "from_trained", "kills"),
    [(TWO_PHASES, False, (3, 13)), (UNTIL_LOSS_GOES_UP, True, (31,))],
)
def test_a_run_killed_anywhere_gives_the_same_weights_as_an_unbroken_one(
    options: tuple[object, ...],
    from_trained: bool,
    kills: tuple[int, ...],
    trained: Path,
    killed_at: Callable[..., None],
    run_whole: Callable[..., Ended],
    tmp_path: Path,
) -> None:
    text = tmp_path / "short.txt"
    text.write_text(tales(60))
    settings = ("--learning-rate", 0.02, "--from", trained) if from_trained else TINY
    quick = ("--samples", 1, "--no-references", "--no-sweep", "--evaluate-every", 9)

    def command(output: Path) -> tuple[object, ...]:
        return ("--text", text, "--output", output, *settings, *options, *quick)

    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    said = _end(run_whole(*command(unbroken)))
    assert ("was lowest" in said) == from_trained
    for step in kills:
        killed_at(step, *command(killed))
        assert not (killed / "model.safetensors").exists()
    # What a kill in the middle of saving leaves behind must not be taken for a checkpoint.
    torn = killed / "checkpoints" / "checkpoint-299"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"global_st')
    assert "resuming at step" in _end(run_whole(*command(killed)))
    run = json.loads(_read(unbroken, "run.json"))
    assert from_trained or (run["short_context"], run["context"]) == (128, 256)
    before, after = (load_file(d / "model.safetensors") for d in (unbroken, killed))
    assert before.keys() == after.keys()
    for name, weights in before.items():
        assert torch.equal(weights, after[name]), name
    # A finished run is not trained on.
    assert "tokens/s" not in _end(run_whole(*command(unbroken)))


def test_the_weights_of_the_least_held_out_loss_are_taken(
    trained: Path, run_whole: Callable[..., Ended], tmp_path: Path
) -> None:
    (tmp_path / "short.txt").write_text(tales(60))
    output = tmp_path / "out"
    settings = ("--learning-rate", 0.02, "--context", 64, "--tokens-per-step", 64)
    quick = ("--samples", 1, "--no-references", "--no-sweep", "--evaluate-every", 9)
    said = _end(
        run_whole(
            "--text",
            tmp_path / "short.txt",
            "--from",
            trained,
            "--output",
            output,
            *settings,
            *quick,
        )
    )
    looks = [
        (float(loss), int(step)) for loss, step in re.findall(r"loss (\S+) at step (\d+)", said)
    ]
    step = min(looks)[1]
    assert f"was lowest at step {step}: stopping" in said and looks[-1][1] < 200
    assert f"{step} steps, " in _read(output, "README.md")
    # The figure is that of the best look, not of the last.
    perplexity = float(re.search(r"this model.*\| ([\d.]+) \|", _read(output, "README.md"))[1])
    assert abs(math.log(perplexity) - min(looks)[0]) < 0.05
    assert looks[-1][0] > min(looks)[0]


def test_a_run_is_called_after_its_text(tmp_path: Path) -> None:
    (tmp_path / "my-book.txt.gz").touch()
    assert name_of(str(tmp_path / "my-book.txt.gz")) == "my-book"
    assert name_of(str(tmp_path)) == tmp_path.name
    for nameless in ("-", "/dev/fd/63", "books/**/*.md"):
        assert name_of(nameless) == "text"


def test_check_tells_and_writes_nothing(
    text: Path, run_whole: Callable[..., Ended], tmp_path: Path
) -> None:
    output = tmp_path / "none"
    said = _end(run_whole("--text", text, "--output", output, *TINY, "--check"))
    for part in ("1 file, 1 document", "held out", "passes over the text", "memory", "disk"):
        assert part in said
    assert re.search(r"time +about .* for the steps", said)
    assert not output.exists()


def test_a_trained_directory_is_packed_as_it_is(trained: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "archive", "--model", str(trained), "--name", "tiny"]
    command += ["--output", str(tmp_path), "--precision", "fp32"]
    packed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert packed.returncode == 0, packed.stderr
    assert (tmp_path / "tiny.mar").is_file()


def test_a_file_of_sources_that_says_other_things_is_no_fault(
    text: Path, run_whole, tmp_path: Path
) -> None:
    source = Path(shutil.copytree(text, tmp_path / "text"))
    (source / "SOURCES.tsv").write_text("where\twhen\nhere\tnow\n")
    _end(run_whole("--text", source, "--output", tmp_path / "out", *TINY, "--steps", 2))
    assert "- tales.txt" in _read(tmp_path / "out", "README.md")


def test_length_and_tokens_of_a_step_can_be_changed_under_way(
    text: Path, run_whole, tmp_path: Path
) -> None:
    output = tmp_path / "longer"
    said: list[str] = []
    for steps, tokens in ((6, 128), (9, 64), (9, 64)):
        settings = ("--steps", steps, "--tokens-per-step", tokens)
        said.append(_end(run_whole("--text", text, "--output", output, *TINY, *settings)))
    assert "resuming at step 6 of 9" in said[1] and "resuming at step 9 of 9" in said[2]
    card = _read(output, "README.md")
    assert "planned for 6 steps until step 6" in card
    assert "128 tokens a step until step 6" in card
    assert "9 steps, 0.00 million tokens" in card


def _end(run: Ended) -> str:
    assert run.status == 0, run.said
    return run.said


def _bits_in_card(directory: Path) -> float:
    line = next(
        line
        for line in _read(directory, "README.md").splitlines()
        if line.startswith("| **this model** |")
    )
    return float(line.split("|")[2])


def _read(directory: Path, name: str) -> str:
    return (directory / name).read_text(encoding="utf-8")
