import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import GPT2LMHeadModel

from tests.training.conftest import ROOT, TINY, Tool


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


def test_a_killed_and_resumed_run_gives_the_same_weights_as_an_unbroken_one(
    trained: Path, text: Path, tool: Tool, tmp_path: Path
) -> None:
    output = tmp_path / "killed"
    command = ("--text", text, "--output", output, *TINY)
    process = tool(*command)
    try:
        _wait_for(output / "checkpoints" / "checkpoint-10" / "trainer_state.json", process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (output / "model.safetensors").exists(), "killed too late to show anything"
    # What a kill in the middle of saving leaves behind must not be taken for a checkpoint.
    torn = output / "checkpoints" / "checkpoint-29"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"global_st')

    resumed = tool(*command)
    _, said = resumed.communicate(timeout=240)
    assert resumed.returncode == 0, said
    assert "resuming at step" in said
    before, after = (
        load_file(trained / "model.safetensors"),
        load_file(output / "model.safetensors"),
    )
    assert before.keys() == after.keys()
    for name, weights in before.items():
        assert torch.equal(weights, after[name]), name


def test_a_run_killed_in_each_of_its_phases_gives_the_same_weights(
    text: Path, tool: Tool, tmp_path: Path
) -> None:
    # From a context of 256 on, the first three quarters of the steps see windows of half of it.
    phases = ("--context", 256, "--steps", 16, "--save-every", 1)

    def command(output: Path) -> tuple[object, ...]:
        return ("--text", text, "--output", output, *TINY, *phases)

    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    _end(tool(*command(unbroken)))
    for step in (3, 13):
        process = tool(*command(killed))
        try:
            _wait_for(killed / "checkpoints" / f"checkpoint-{step}" / "trainer_state.json", process)
        finally:
            process.kill()
            process.communicate()
        assert not (killed / "model.safetensors").exists(), "killed too late to show anything"
    _end(tool(*command(killed)))
    run = json.loads(_read(unbroken, "run.json"))
    assert (run["short_context"], run["context"]) == (128, 256)
    for name, weights in load_file(unbroken / "model.safetensors").items():
        assert torch.equal(weights, load_file(killed / "model.safetensors")[name]), name


def test_a_trained_directory_is_packed_as_it_is(trained: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "archive", "--model", str(trained), "--name", "tiny"]
    command += ["--output", str(tmp_path), "--precision", "fp32"]
    packed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert packed.returncode == 0, packed.stderr
    assert (tmp_path / "tiny.mar").is_file()


def test_a_file_of_sources_that_says_other_things_is_no_fault(
    text: Path, tool: Tool, tmp_path: Path
) -> None:
    source = Path(shutil.copytree(text, tmp_path / "text"))
    (source / "SOURCES.tsv").write_text("where\twhen\nhere\tnow\n")
    _end(tool("--text", source, "--output", tmp_path / "out", *TINY, "--steps", 2))
    assert "- tales.txt" in _read(tmp_path / "out", "README.md")


def test_length_and_tokens_of_a_step_can_be_changed_under_way(
    text: Path, tool: Tool, tmp_path: Path
) -> None:
    output = tmp_path / "longer"
    said: list[str] = []
    for steps, tokens in ((6, 128), (9, 64), (9, 64)):
        settings = ("--steps", steps, "--tokens-per-step", tokens)
        process = tool("--text", text, "--output", output, *TINY, *settings)
        said.append(process.communicate(timeout=240)[1])
        assert process.returncode == 0, said[-1]
    assert "resuming at step 6 of 9" in said[1] and "resuming at step 9 of 9" in said[2]
    card = _read(output, "README.md")
    assert "planned for 6 steps until step 6" in card
    assert "128 tokens a step until step 6" in card
    assert "9 steps, 0.00 million tokens" in card


def _end(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said


def _wait_for(file: Path, process: object, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < end, f"{file.name} never came"
        assert process.poll() is None  # type: ignore[attr-defined]
        time.sleep(0.02)


def _bits_in_card(directory: Path) -> float:
    line = next(
        line
        for line in _read(directory, "README.md").splitlines()
        if line.startswith("| **this model** |")
    )
    return float(line.split("|")[2])


def _read(directory: Path, name: str) -> str:
    return (directory / name).read_text(encoding="utf-8")
