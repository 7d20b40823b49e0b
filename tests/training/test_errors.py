"""Every way to start wrongly ends with one line that says what is wrong and what would be right."""

import json
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.training.conftest import ROOT, TINY
from tests.training.text import tales
from training.__main__ import main
from training.ownership import keep_changed, note_written

EMBEDDED = ROOT / "models" / "gpt2-tales"


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    def run(*arguments: object) -> str:
        command = ["--output", str(tmp_path / "out"), *map(str, arguments)]
        assert main(command) == 1
        lines = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        assert len(lines) == 1
        return lines[0]

    return run


def test_no_text(refused, tmp_path: Path) -> None:
    assert "no text" in refused("--text", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no *.txt file" in refused("--text", tmp_path / "empty")
    assert "no file matches" in refused("--text", tmp_path / "*.none")
    (tmp_path / "link.txt").symlink_to(tmp_path / "gone.txt")
    assert "which does not exist" in refused("--text", tmp_path / "link.txt")
    assert "which does not exist" in refused("--text", tmp_path)
    (tmp_path / "folder" / "x.txt").mkdir(parents=True)
    assert "no *.txt file" in refused("--text", tmp_path / "folder")


def test_an_output_that_can_not_be_made(refused, text: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is not a directory" in refused("--text", text, "--output", tmp_path / "file" / "out")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert "gone" in refused("--text", text, "--output", tmp_path / "gone")
    assert "proc" in refused("--text", text, "--output", "/proc/mine")


def test_too_little_text_says_how_much_is_needed(refused, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Once upon a time.")
    error = refused("--text", tmp_path)
    assert "too little text" in error and "more than 32 are needed" in error


def test_text_shorter_than_a_window(refused, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(tales(30))
    error = refused("--text", tmp_path, "--context", 4096)
    assert "--context" in error and "too little text" in error


def test_wrong_encoding_names_file_and_byte(refused, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(tales(40))
    (tmp_path / "b.txt").write_bytes(b"caf\xe9 au lait")
    error = refused("--text", tmp_path)
    assert "b.txt is not UTF-8 (byte 0xe9 at offset 3)" in error
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfabc caf\xe9")
    assert "byte 0xe9 at offset 10" in refused("--text", tmp_path)


def test_no_space_for_the_checkpoints_of_a_model_that_exists(
    refused, text: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = namedtuple("usage", "total used free")(10**9, 10**9, 10**5)
    monkeypatch.setattr("training.trainer.shutil.disk_usage", lambda _: full)
    error = refused("--text", text, "--from", trained, "--context", 64)
    assert "no space" in error and "0 MB are free" in error


def test_no_space_on_the_disk(refused, text: Path) -> None:
    error = refused("--text", text, "--layers", 2000, "--width", 8192)
    assert "no space" in error and "MB are needed" in error


def test_a_model_that_is_no_gpt2(refused, text: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "llama"}))
    error = refused("--text", text, "--from", other)
    assert "is not GPT-2" in error and "'llama'" in error
    (tmp_path / "empty").mkdir()
    assert "no model.safetensors" in refused("--text", text, "--from", tmp_path / "empty")


def test_a_model_without_weights(refused, text: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((EMBEDDED / "config.json").read_text())
    assert "model.safetensors" in refused("--text", text, "--from", tmp_path)


def other_activation(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"activation_function": "mish"}))


def cut_weights(model: Path) -> None:
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def drop_a_layer(model: Path) -> None:
    file = model / "model.safetensors"
    weights = load_file(file)
    save_file({n: w for n, w in weights.items() if ".h.1." not in n}, file, {"format": "pt"})


def say_another_width(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"n_embd": 32}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (other_activation, "activation_function 'mish'"),
        (cut_weights, "no model.safetensors that can be read"),
        (drop_a_layer, "model.safetensors lacks transformer.h.1."),
        (say_another_width, "do not have the sizes"),
    ],
)
def test_a_model_that_is_not_whole(
    refused, text: Path, trained: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    model = Path(shutil.copytree(trained, tmp_path / "model"))
    spoil(model)
    assert words in refused("--text", text, "--from", model, "--context", 64)


def test_a_model_without_tokenizer(refused, text: Path, trained: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    error = refused("--text", text, "--from", tmp_path, "--context", 64)
    assert "tokenizer.json" in error


def test_a_context_beyond_the_models(refused, text: Path, trained: Path) -> None:
    error = refused("--text", text, "--from", trained, "--context", 65)
    assert "65" in error and "64" in error


def test_a_width_the_heads_can_not_share(refused, text: Path) -> None:
    options = ("--width", 100, "--heads", 3)
    assert "--heads" in refused("--text", text, *options)


def test_prompts_that_are_no_list(refused, text: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.json").write_text('{"a": 1}')
    options = ("--prompts", tmp_path / "prompts.json")
    assert "--prompts" in refused("--text", text, *options)


def test_resuming_with_other_settings_names_the_setting(
    text: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--text", str(text), "--output", str(trained), *TINY]
    assert main([*command, "--seed", "1"]) == 1
    assert "another seed (0, now 1)" in capsys.readouterr().err
    assert main([*command, "--vocab-size", "300"]) == 1
    assert "another vocab_size (367, now 300)" in capsys.readouterr().err
    assert main([*command, "--steps", "10"]) == 1
    assert "is at step 30 already, beyond 10" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--steps", "0"),
        ("--seed", "-1"),
        ("--dropout", "1"),
        ("--vocab-size", "256"),
        ("--learning-rate", "nan"),
    ],
)
def test_an_option_out_of_range_is_named(
    text: Path, option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--text", str(text), option, value])
    assert f"argument {option}: '{value}' is not " in capsys.readouterr().err


def test_a_directory_of_somebody_else_is_left_alone(text: Path, tmp_path: Path, capsys) -> None:
    for name in ("README.md", "config.json", "run.json"):
        output = tmp_path / name.replace(".", "-")
        output.mkdir()
        (output / name).write_text('{"mine": true}')
        assert main(["--text", str(text), "--output", str(output), *TINY]) == 1
        assert "is not empty" in capsys.readouterr().err
        assert [path.name for path in output.iterdir()] == [name]
        assert (output / name).read_text() == '{"mine": true}'
    file = tmp_path / "file"
    file.touch()
    assert main(["--text", str(text), "--output", str(file), *TINY]) == 1
    assert "is not a directory" in capsys.readouterr().err


def test_what_was_changed_in_a_finished_run_is_moved_aside(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("ours")
    note_written(tmp_path, ("README.md",))
    assert not keep_changed(tmp_path, ("README.md",))
    card.write_text("with a word of mine")
    assert keep_changed(tmp_path, ("README.md",)) == ["README.md.kept-1"]
    assert (tmp_path / "README.md.kept-1").read_text() == "with a word of mine"
    assert not card.exists()
