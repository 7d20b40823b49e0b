"""Archives in the formats of torch-model-archiver and in KServe's layout, and one made by hand."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.archive.checkpoints import ROOT, write_checkpoint
from tests.archive.test_package import package
from tests.handler.stock import started
from tests.patience import PATIENCE

FORMATS = {"default": "gpt2.mar", "tgz": "gpt2.tar.gz", "no-archive": "gpt2"}
MANIFEST = "MAR-INF/MANIFEST.json"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("formats") / "checkpoint"
    write_checkpoint(made)
    return made


@pytest.fixture(scope="module")
def store(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model in each format."""
    made = tmp_path_factory.mktemp("store")
    for name in FORMATS:
        done = package(checkpoint, made, "--precision", "fp32", "--archive-format", name)
        assert done.returncode == 0, done.stderr
        assert str(made / FORMATS[name]) in done.stdout
    assert sorted(path.name for path in made.iterdir()) == sorted(FORMATS.values())
    return made


def members(archive: Path) -> dict[str, bytes]:
    if archive.is_dir():
        files = [path for path in archive.rglob("*") if path.is_file()]
        return {str(path.relative_to(archive)): path.read_bytes() for path in files}
    if archive.suffix == ".gz":
        with tarfile.open(archive) as packed:
            found = {each.name: packed.extractfile(each) for each in packed if each.isfile()}
            return {name.partition("/")[2]: file.read() for name, file in found.items() if file}
    with zipfile.ZipFile(archive) as packed_zip:
        assert len(packed_zip.namelist()) == len(set(packed_zip.namelist()))
        return {name: packed_zip.read(name) for name in packed_zip.namelist()}


def compared(archive: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Digests of its members, and its manifest without its date."""
    found = members(archive)
    manifest: dict[str, Any] = json.loads(found.pop(MANIFEST))
    del manifest["createdOn"]
    return {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}, manifest


def test_every_format_holds_the_same(store: Path) -> None:
    expected = compared(store / "gpt2.mar")
    assert len(expected[0]) > 50
    for name in FORMATS.values():
        assert compared(store / name) == expected, name


@pytest.mark.parametrize("form", FORMATS)
def test_another_model_is_not_written_over(form: str, store: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_checkpoint(other)
    before = compared(store / FORMATS[form])
    refused = package(other, store, "--precision", "fp32", "--archive-format", form)
    assert refused.returncode == 1
    assert "holds another model" in refused.stderr and "--replace" in refused.stderr
    assert compared(store / FORMATS[form]) == before


@pytest.mark.parametrize("form", ["tgz", "no-archive"])
def test_what_is_no_archive_is_left_as_it_is(form: str, checkpoint: Path, tmp_path: Path) -> None:
    if form == "tgz":
        (tmp_path / "gpt2.tar.gz").write_bytes(b"mine")
    else:
        (tmp_path / "gpt2").mkdir()
        (tmp_path / "gpt2" / "thesis.txt").write_text("mine")
    options = ("--precision", "fp32", "--archive-format", form)
    refused = package(checkpoint, tmp_path, *options)
    assert refused.returncode == 1 and "no archive of this command" in refused.stderr
    if form == "no-archive":  # a folder of somebody's is not deleted, whatever is asked for
        refused = package(checkpoint, tmp_path, *options, "--replace")
        assert refused.returncode == 1 and "no archive of this command" in refused.stderr
        assert (tmp_path / "gpt2" / "thesis.txt").read_text() == "mine"


def test_the_archiver_called_by_hand_makes_the_same(store: Path, tmp_path: Path) -> None:
    """As docs/torchserve.md says it."""
    staged = tmp_path / "gpt2"
    for name, data in members(store / "gpt2").items():
        if name != MANIFEST:
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            (staged / name).write_bytes(data)
    command = [sys.executable, "-m", "model_archiver.model_packaging"]
    command += ["--model-name", "gpt2", "--version", "1.0"]
    command += ["--handler", "gpt2/gpt2_handler.py", "--extra-files", "gpt2"]
    command += ["--config-file", "gpt2/model-config.yaml"]
    command += ["--requirements-file", "gpt2/requirements.txt"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=PATIENCE)
    assert compared(tmp_path / "gpt2.mar") == compared(store / "gpt2.mar")
    told = (ROOT / "docs" / "torchserve.md").read_text()
    for word in command[3::2]:
        assert word in told, word


@pytest.mark.parametrize("form", FORMATS)
def test_torchserve_serves_every_format(form: str, store: Path, tmp_path: Path) -> None:
    with started(tmp_path, str(store), models=f"gpt2={FORMATS[form]}") as urls:
        url = f"{urls['inference']}/predictions/gpt2"
        body = {"prompt": "Once", "max_tokens": 4, "ignore_eos": True}
        reply = requests.post(url, json=body, timeout=PATIENCE)
        assert reply.json()["usage"]["completion_tokens"] == 4, reply.text


PROMPTS = ["Once upon a time", "The fox", "A king", "It was", "She said", "Far away"]


@pytest.mark.parametrize("envelope", ["", "kserve", "kservev2"])
def test_kserves_layout_is_served_whatever_envelope_is_asked_for(
    envelope: str, checkpoint: Path, tmp_path: Path
) -> None:
    """An envelope hands on the first request of a batch alone: several come at once here."""
    done = package(checkpoint, tmp_path / "mnt", "--precision", "fp32", "--layout", "kserve")
    assert done.returncode == 0, done.stderr
    file = tmp_path / "mnt" / "config" / "config.properties"
    lines = dict(line.split("=", 1) for line in file.read_text().splitlines())
    snapshot = json.loads(lines["model_snapshot"])["models"]["gpt2"]["1.0"]
    assert (snapshot["marName"], snapshot["maxWorkers"]) == ("gpt2.mar", 1)
    assert lines["model_store"] == "/mnt/models/model-store"
    # As it is, but for what a test cannot have: the mount, the ports, an hour for pip.
    kept = {
        name: value
        for name, value in lines.items()
        if not name.endswith(("_address", "_port")) and name != "install_py_dep_per_model"
    }
    kept["model_store"] = str(tmp_path / "mnt" / "model-store")
    kept |= {"service_envelope": envelope} if envelope else {}
    more = "".join(f"{name}={value}\n" for name, value in kept.items())
    with started(tmp_path, kept["model_store"], more) as urls:

        def tensors(prompt: str) -> str:
            tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [prompt]}
            body = {"inputs": [tensor], "parameters": {"max_tokens": 4, "seed": 3}}
            url = f"{urls['inference']}/v2/models/gpt2/infer"
            reply = requests.post(url, json=body, timeout=PATIENCE)
            assert reply.status_code == 200, reply.text
            outputs = {each["name"]: each["data"] for each in reply.json()["outputs"]}
            return str(outputs["text_output"][0])

        def instances(prompt: str) -> str:
            body = {"instances": [{"data": prompt}], "parameters": {"max_tokens": 4, "seed": 3}}
            url = f"{urls['inference']}/v1/models/gpt2:predict"
            reply = requests.post(url, json=body, timeout=PATIENCE)
            assert reply.status_code == 200, reply.text
            (found,) = reply.json()["predictions"]
            return str(found)

        def plain(prompt: str) -> str:
            url = f"{urls['inference']}/predictions/gpt2"
            body = {"prompt": prompt, "max_tokens": 4, "seed": 3}
            reply = requests.post(url, json=body, timeout=PATIENCE)
            return str(reply.json()["choices"][0]["text"])

        expected = [plain(prompt) for prompt in PROMPTS]
        with ThreadPoolExecutor(18) as pool:
            for found in (
                pool.map(tensors, PROMPTS),
                pool.map(instances, PROMPTS),
                pool.map(plain, PROMPTS),
            ):
                assert list(found) == expected
