"""The command as a person runs it: what it writes, what it says, and what it leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load as load_bytes
from safetensors.numpy import load_file, save_file

from archive.naming import source_id
from tests.archive.checkpoints import EMBEDDED_MODEL, EMBEDDED_VOCABULARY, ROOT, write_checkpoint


def package(model: Path | str, output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "archive", "--model", str(model), "--output", str(output)]
    command += [] if "--name" in options else ["--name", "gpt2"]
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(output)}
    return subprocess.run(
        [*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True
    )


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_the_archive_holds_code_model_and_settings(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "store"
    done = package(checkpoint, output, "--precision", "fp32", "--version", "2.1", "--name", "mine")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in output.iterdir()] == ["mine.mar"]
    with zipfile.ZipFile(output / "mine.mar") as archive:
        names = set(archive.namelist())
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
        metadata = json.loads(archive.read("model/archive.json"))
        settings = yaml.safe_load(archive.read("model-config.yaml"))
        requirements = archive.read("requirements.txt").decode()
    assert {"gpt2_handler.py", "handler/requests/schema.py", "handler/engine/engine.py"} <= names
    assert {"model/model.native.safetensors", "model/config.json", "model/tokenizer.json"} <= names
    assert manifest["model"]["modelName"] == "mine"
    assert manifest["model"]["modelVersion"] == "2.1"
    assert (metadata["precision"], metadata["cache"], metadata["quality"]) == (
        "fp32",
        "float32",
        None,
    )
    assert metadata["shape"]["max_length"] == 256 and metadata["examples"]
    assert settings["engine"]["kind"] == "native"
    assert (settings["minWorkers"], settings["maxWorkers"]) == (1, 1)
    assert "tokenizers>=" in requirements and "torch==" not in requirements


def test_the_same_inputs_give_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    first = package(checkpoint, tmp_path / "one", "--precision", "int8")
    # Other times and rights, and files that were made in another order.
    before = checkpoint.rename(tmp_path / "before")
    checkpoint.mkdir()
    for number, path in enumerate(sorted(before.iterdir(), reverse=True)):
        shutil.copy(path, checkpoint / path.name)
        (checkpoint / path.name).chmod(0o640)
        os.utime(checkpoint / path.name, (1e9 + number, 1e9 + number))
    second = package(checkpoint, tmp_path / "two", "--precision", "int8")
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    archives = [tmp_path / store / "gpt2.mar" for store in ("one", "two")]
    contents = []
    for path in archives:
        with zipfile.ZipFile(path) as archive:
            contents.append({name: archive.read(name) for name in archive.namelist()})
    assert contents[0].keys() == contents[1].keys()
    assert [name for name in contents[0] if contents[0][name] != contents[1][name]] == []
    assert archives[0].read_bytes() == archives[1].read_bytes()


def test_the_embedded_model_is_the_same_source_in_every_checkout() -> None:
    assert source_id(str(EMBEDDED_MODEL)) == source_id("models/gpt2-tales")
    assert source_id(str(EMBEDDED_MODEL)) == sha256(b"models/gpt2-tales").hexdigest()[:16]


def test_an_archive_has_the_time_of_its_source_where_that_is_said(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert package(checkpoint, tmp_path / "dated", "--precision", "fp32").returncode == 0
    with zipfile.ZipFile(tmp_path / "dated" / "gpt2.mar") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(2023, 11, 14, 22, 13, 20)}
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
    assert manifest["createdOn"] == "14/11/2023 22:13:20"


def test_the_torch_engine_gets_the_weights_as_they_are(checkpoint: Path, tmp_path: Path) -> None:
    done = package(checkpoint, tmp_path / "store", "--engine", "torch")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "store" / "gpt2.mar") as archive:
        weights = archive.read("model/model.safetensors")
        settings = yaml.safe_load(archive.read("model-config.yaml"))
    found, expected = load_bytes(weights), load_file(checkpoint / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all((found[name] == weight).all() for name, weight in expected.items())
    assert settings["engine"]["kind"] == "torch"


def test_shards_are_read_as_one(checkpoint: Path, tmp_path: Path) -> None:
    weights = load_file(checkpoint / "model.safetensors")
    names = sorted(weights)
    shards = {
        "model-00001-of-00002.safetensors": names[:9],
        "model-00002-of-00002.safetensors": names[9:],
    }
    for shard, members in shards.items():
        save_file({name: weights[name] for name in members}, checkpoint / shard)
    index = {"weight_map": {name: shard for shard, members in shards.items() for name in members}}
    package(checkpoint, tmp_path / "whole", "--precision", "fp32")
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    assert package(checkpoint, tmp_path / "parts", "--precision", "fp32").returncode == 0
    models = []
    for store in ("whole", "parts"):
        with zipfile.ZipFile(tmp_path / store / "gpt2.mar") as archive:
            models.append(archive.read("model/model.native.safetensors"))
    assert models[0] == models[1]
    (checkpoint / "model-00002-of-00002.safetensors").unlink()
    done = package(checkpoint, tmp_path / "lacking", "--precision", "fp32")
    assert "model-00002-of-00002.safetensors is missing" in done.stderr


def change_config(**settings: object) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        path = directory / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    return change


def change_weight(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        path = directory / "model.safetensors"
        weights = load_file(path)
        weights[name] = change(weights[name])
        save_file(weights, path)

    return apply


def remove(name: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).unlink()


def cut_short(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def other_tokenizer(directory: Path) -> None:
    change_config(vocab_size=4000)(directory)
    change_weight("wte.weight", lambda weight: weight[:4000])(directory)


def spoil(weight: np.ndarray) -> np.ndarray:
    weight[3] = np.nan
    return weight


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "not GPT-2": (change_config(model_type="llama"), "not a GPT-2 language model"),
    "another head": (
        change_config(architectures=["GPT2ForSequenceClassification"]),
        "GPT2ForSequenceClassification",
    ),
    "another activation": (
        change_config(activation_function="quick_gelu"),
        "'quick_gelu' is not supported",
    ),
    "a default that no request may have": (
        lambda directory: (directory / "generation_config.json").write_text(
            json.dumps({"do_sample": True, "temperature": 9})
        ),
        "error: generation_config.json: `temperature`",
    ),
    "odd numbers": (change_config(n_head=7), "not a multiple of n_head"),
    "no tokenizer": (remove("tokenizer.json"), "no tokenizer"),
    "another tokenizer": (
        other_tokenizer,
        f"does not fit the model: it has {EMBEDDED_VOCABULARY} tokens",
    ),
    "broken tokenizer": (
        lambda directory: (directory / "tokenizer.json").write_text("{"),
        "tokenizer.json is broken",
    ),
    "no configuration": (remove("config.json"), "no config.json"),
    "broken configuration": (
        lambda directory: (directory / "config.json").write_text("{"),
        "config.json is broken",
    ),
    "no weights": (remove("model.safetensors"), "no model.safetensors"),
    "cut short": (cut_short, "model.safetensors is broken or cut short"),
    "not finite": (change_weight("h.1.mlp.c_fc.weight", spoil), "h.1.mlp.c_fc.weight holds values"),
    "wrong shape": (change_weight("wpe.weight", lambda weight: weight[:9]), "wpe.weight has shape"),
}


@pytest.mark.parametrize(("spoiled", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_a_bad_checkpoint_is_refused_in_one_clear_line(
    checkpoint: Path, tmp_path: Path, spoiled: Callable[[Path], None], words: str
) -> None:
    spoiled(checkpoint)
    done = package(checkpoint, tmp_path / "store", "--precision", "fp32")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert words in done.stderr
    assert not list(tmp_path.glob("store/*"))


def test_zeros_among_the_defaults_mean_greedy_or_off(checkpoint: Path, tmp_path: Path) -> None:
    zeros = {"do_sample": True, "temperature": 0, "top_p": 0, "top_k": 0}
    (checkpoint / "generation_config.json").write_text(json.dumps(zeros))
    done = package(checkpoint, tmp_path / "store", "--precision", "fp32")
    assert done.returncode == 0, done.stderr
    assert "is ready" in done.stdout


def test_a_hub_out_of_reach_is_said(tmp_path: Path) -> None:
    done = package("somebody/some-gpt2", tmp_path)
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr and done.stderr.count("\n") == 1


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = package(tmp_path / "nowhere", tmp_path)
    assert done.returncode == 1
    assert "no such directory" in done.stderr and done.stderr.count("\n") == 1


def test_bad_names_and_versions_are_refused(tmp_path: Path) -> None:
    for option, value in (("--name", "a/b"), ("--name", "a--b"), ("--version", "one")):
        done = package(EMBEDDED_MODEL, tmp_path, option, value)
        assert done.returncode == 1
        assert f"error: {option}" in done.stderr


def test_too_short_a_calibration_text_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text("Not enough. " * 20)
    done = package(EMBEDDED_MODEL, tmp_path / "store", "--calibration-text", str(text))
    assert done.returncode == 1
    assert "short.txt is too short" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted, which needs root")
def test_a_full_disk_leaves_the_old_archive_and_nothing_else(
    checkpoint: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        (disk / "gpt2.mar").write_bytes(b"the old one")
        done = package(checkpoint, disk, "--precision", "fp32", "--replace")
        assert done.returncode == 1
        assert "no space left" in done.stderr and done.stderr.count("\n") == 1
        assert [path.name for path in disk.iterdir()] == ["gpt2.mar"]
        assert (disk / "gpt2.mar").read_bytes() == b"the old one"
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_help_shows_examples() -> None:
    command = [sys.executable, "-m", "archive", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "./scripts/package_model --model gpt2 " in done.stdout


def test_the_card_and_its_examples_reach_the_archive(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "README.md").write_text("---\nlicense: mit\n---\n# A card\n")
    (checkpoint / "examples.json").write_text('["One", "Two"]')
    shutil.copy(EMBEDDED_MODEL / "generation_config.json", checkpoint)
    assert package(checkpoint, tmp_path / "store", "--precision", "fp32").returncode == 0
    with zipfile.ZipFile(tmp_path / "store" / "gpt2.mar") as archive:
        metadata = json.loads(archive.read("model/archive.json"))
        assert "model/generation_config.json" in archive.namelist()
    assert (metadata["license"], metadata["examples"]) == ("mit", ["One", "Two"])
