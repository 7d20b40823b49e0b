"""An archive that cannot be served says why in one line; what can be is served as it should be."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from transformers import GPT2Config, GPT2LMHeadModel

from handler.engine.errors import ModelError
from handler.engine.settings import EngineSettings
from handler.engine.step import Rows, Score
from handler.service import Service
from tests.archive.checkpoints import write_checkpoint
from tests.conftest import EMBEDDED_VOCABULARY, ROOT
from tests.handler.engines import Rig, packed
from tests.patience import PATIENCE


def load(directory: Path, **engine: Any) -> Service:
    config = {"engine": {"slots": 2, "threads": 1, **engine}}
    return Service.load(directory, name="gpt2", version="1.0", config=config, max_tokens=20)


@pytest.fixture
def archive(archives: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(archives["int8"], tmp_path / "archive"))


def say_more_layers(archive: Path) -> None:
    path = archive / "model" / "archive.json"
    metadata = json.loads(path.read_text())
    metadata["shape"]["layers"] = 9
    path.write_text(json.dumps(metadata))


def say_no_precision(archive: Path) -> None:
    path = archive / "model" / "archive.json"
    metadata = json.loads(path.read_text())
    del metadata["precision"]
    path.write_text(json.dumps(metadata))


def cut_the_weights(archive: Path) -> None:
    path = archive / "model" / "model.native.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def drop_metadata(archive: Path) -> None:
    (archive / "model" / "archive.json").unlink()


def say_too_much_heat(archive: Path) -> None:
    path = archive / "model" / "generation_config.json"
    path.write_text(json.dumps({"do_sample": True, "temperature": 9}))


def say_heat_in_words(archive: Path) -> None:
    path = archive / "model" / "generation_config.json"
    path.write_text(json.dumps({"do_sample": True, "temperature": "high"}))


@pytest.mark.parametrize(
    "spoil",
    [
        say_more_layers,
        say_no_precision,
        cut_the_weights,
        drop_metadata,
        say_too_much_heat,
        say_heat_in_words,
    ],
)
def test_a_broken_archive_is_told_in_one_line(archive: Path, spoil: Any) -> None:
    spoil(archive)
    with pytest.raises(ModelError) as told:
        load(archive)
    assert str(told.value) and "\n" not in str(told.value)
    assert str(archive) not in str(told.value)


def keep_no_layout(archive: Path) -> None:
    path = archive / "model" / "archive.json"
    metadata = json.loads(path.read_text())
    del metadata["layout"]
    path.write_text(json.dumps(metadata))


def rename_the_weights(archive: Path) -> None:
    (archive / "model" / "model.native.safetensors").rename(archive / "model" / "model.onnx")


@pytest.mark.parametrize("age", [keep_no_layout, rename_the_weights])
def test_an_archive_of_another_version_is_to_be_packed_again(archive: Path, age: Any) -> None:
    age(archive)
    with pytest.raises(ModelError, match="pack the model again, with package_model"):
        load(archive)


def test_settings_left_out_are_those_that_ship() -> None:
    shipped = yaml.safe_load((ROOT / "config" / "model-config.yaml").read_text())["engine"]
    assert dataclasses.asdict(EngineSettings.from_mapping({})) == shipped
    assert dataclasses.asdict(EngineSettings.from_mapping({"slots": 5})) == shipped | {"slots": 5}


# Out of an archive alone, as a worker does.
SETTINGS_OF_ITS_CODE = """
import dataclasses, json
from handler.engine.settings import EngineSettings
print(json.dumps(dataclasses.asdict(EngineSettings.from_mapping({"threads": 1}))))
"""


def test_settings_left_out_of_an_archive_are_those_that_its_code_came_with(archive: Path) -> None:
    def ask() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", SETTINGS_OF_ITS_CODE]
        return subprocess.run(
            command, cwd=archive, capture_output=True, text=True, check=False, timeout=PATIENCE,
            env={"PYTHONPATH": str(archive)},
        )  # fmt: skip

    brought = archive / "handler" / "engine" / "model-config.yaml"
    settings = yaml.safe_load(brought.read_text())
    assert json.loads(ask().stdout) == settings["engine"] | {"threads": 1}
    settings["engine"]["slots"] = 7
    brought.write_text(yaml.safe_dump(settings))
    assert json.loads(ask().stdout)["slots"] == 7
    del settings["engine"]["deadline_seconds"]
    brought.write_text(yaml.safe_dump(settings))
    assert "engine.deadline_seconds is missing in model-config.yaml" in ask().stderr


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ({"slots": 1.5}, "engine.slots must be a whole number"),
        ({"threads": -1}, "engine.threads must lie between 0 and 256"),
        ({"colour": 1}, "unknown setting engine.colour"),
        ({"kind": "tpu"}, "engine.kind must be native or torch"),
        ({"max_num_batched_tokens": 2}, "must be more than engine.slots"),
        ({"stream_interval_ms": -1}, "engine.stream_interval_ms must lie between 0 and 1000"),
        ({"cache_memory_mib": 1}, "one sequence of 512 tokens needs [0-9]+ MiB .* and there are 1"),
    ],
)
def test_a_setting_that_is_not_allowed_is_named(
    archive: Path, engine: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        load(archive, **engine)


@pytest.mark.parametrize("engine", ["torch", ["slots"], 5])
def test_settings_that_are_none_are_told(archive: Path, engine: Any) -> None:
    with pytest.raises(ModelError, match="engine in model-config.yaml must hold settings"):
        Service.load(archive, name="a", version="1", config={"engine": engine}, max_tokens=20)


def test_a_worker_that_cannot_load_says_so_and_ends(archive: Path) -> None:
    say_more_layers(archive)
    script = """
import sys; from types import SimpleNamespace as N
from handler.gpt2_handler import GPT2Handler
GPT2Handler().initialize(N(system_properties={"model_dir": sys.argv[1]}, manifest={"model": {}},
    model_name="gpt2", model_yaml_config={"engine": {"slots": 2}}))
"""
    command = [sys.executable, "-c", script, str(archive)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert "The model cannot be served: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_imports_neither_transformers_nor_torch(archive: Path) -> None:
    script = """
import sys; from pathlib import Path
from handler.service import Service
Service.load(Path(sys.argv[1]), name="gpt2", version="1", config={}, max_tokens=20)
print({"torch", "transformers"} & set(sys.modules))
"""
    command = [sys.executable, "-c", script, str(archive)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stdout.strip() == "set()"


def rows_of(tokens: np.ndarray, *, slot: int = 0, start: int = 0) -> Rows:
    rows = np.empty((len(tokens), 3), np.int32)
    rows[:, 0], rows[:, 1], rows[:, 2] = tokens, slot, np.arange(start, start + len(tokens))
    return rows


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_attention_is_scaled_as_the_checkpoint_says(tmp_path: Path, engine: str) -> None:
    scaling = {"scale_attn_by_inverse_layer_idx": True, "scale_attn_weights": False}
    write_checkpoint(tmp_path / "model", **scaling)
    reference = GPT2LMHeadModel.from_pretrained(tmp_path / "model", dtype=torch.float32).eval()
    form = [] if engine == "torch" else ["--precision", "fp32", "--cache", "float32"]
    rig = Rig(
        packed(tmp_path / "store", "scaled", "--engine", engine, *form, model=tmp_path / "model")
    )
    tokens = np.arange(5, 45)
    rows = rows_of(tokens)
    asks = [Score(len(tokens) - 1, token, 0) for token in range(0, EMBEDDED_VOCABULARY, 50)]
    found = [answer.logprob.logprob for answer in rig.model.step(rows, asks) if answer.logprob]
    logits = reference(torch.from_numpy(tokens)[None]).logits[0, -1].detach()
    expected = logits.log_softmax(-1)[::50].numpy()
    rig.close()
    assert np.abs(np.array(found) - expected).max() < 1e-4


def test_a_config_that_leaves_sizes_to_the_defaults_and_an_odd_context_are_served(
    tmp_path: Path,
) -> None:
    sizes = {"n_head": 12, "n_positions": 63, "n_layer": 1, "n_embd": 96}
    write_checkpoint(tmp_path / "model", **sizes)
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    assert GPT2Config().n_head == config.pop("n_head")
    path.write_text(json.dumps(config))
    rig = Rig(packed(tmp_path / "store", "odd", "--precision", "int8", model=path.parent))
    tokens = np.random.default_rng(0).integers(1, EMBEDDED_VOCABULARY, 63)
    ask = Score(62, 5, 3)
    whole = rig.model.step(rows_of(tokens), [ask])
    rig.model.step(rows_of(tokens[:62], slot=1), [])
    last = rig.model.step(rows_of(tokens[62:], slot=1, start=62), [Score(0, 5, 3)])
    text = rig.write(rig.sequence(tokens[:62].tolist(), max_tokens=1, ignore_eos=True))[0]
    rig.close()
    assert whole == last
    assert text.tokens == 1
