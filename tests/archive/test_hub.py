"""A model from the hub: downloaded, kept for the day the hub is away, or refused in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.archive.checkpoints import EMBEDDED_MODEL, ROOT, write_checkpoint
from tests.archive.fake_hub import TOKEN, FakeHub, hub

MODEL = "somebody/tales"
NOWHERE = "http://127.0.0.1:9"


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def large(tmp_path: Path) -> dict[str, bytes]:
    """40 MB: the hub's client writes a file 10 MB at a time."""
    write_checkpoint(tmp_path / "large", n_embd=512)
    return contents(tmp_path / "large")


@pytest.fixture
def small(tmp_path: Path) -> dict[str, bytes]:
    write_checkpoint(tmp_path / "small")
    return contents(tmp_path / "small")


def package(
    endpoint: str | FakeHub,
    home: Path,
    output: Path,
    model: str = MODEL,
    *options: str,
    token: str = "",
) -> subprocess.CompletedProcess[str]:
    url = endpoint.url if isinstance(endpoint, FakeHub) else endpoint
    command = [sys.executable, "-m", "archive", "--model", model, "--precision", "fp32"]
    return subprocess.run(
        [*command, "--output", str(output), "--name", "gpt2", *options],
        cwd=ROOT,
        env=os.environ
        | {"HF_ENDPOINT": url, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1", "HF_TOKEN": token},
        capture_output=True,
        text=True,
    )


def refusal(done: subprocess.CompletedProcess[str], output: Path) -> str:
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert not list(output.glob("*"))
    return done.stderr


def test_a_model_from_the_hub_is_packed_and_kept(tmp_path: Path) -> None:
    files = contents(EMBEDDED_MODEL) | {"pytorch_model.bin": b"a pickle"}
    home = tmp_path / "home"
    with hub(MODEL, files) as server:
        done = package(server, home, tmp_path / "store")
        assert done.returncode == 0, done.stderr
    # What packaging has no use for stays there: the loss curve, the pickle.
    wanted = {name for name in contents(EMBEDDED_MODEL) if not name.endswith(".png")}
    assert server.downloaded == wanted
    with zipfile.ZipFile(tmp_path / "store" / "gpt2.mar") as archive:
        metadata = json.loads(archive.read("model/archive.json"))
        assert "model/model.native.safetensors" in archive.namelist()
    assert (metadata["checkpoint"], metadata["precision"]) == (MODEL, "fp32")
    assert metadata["examples"] == json.loads(files["examples.json"])

    done = package(NOWHERE, home, tmp_path / "later")
    assert done.returncode == 0, done.stderr
    assert "using the copy downloaded earlier" in done.stdout
    assert (tmp_path / "later" / "gpt2.mar").is_file()


def test_a_kept_model_is_taken_while_the_hub_is_broken(
    small: dict[str, bytes], tmp_path: Path
) -> None:
    with hub(MODEL, small) as server:
        assert package(server, tmp_path / "home", tmp_path / "store").returncode == 0
    with hub(MODEL, small, "broken") as server:
        done = package(server, tmp_path / "home", tmp_path / "later")
    assert done.returncode == 0, done.stderr
    assert "using the copy downloaded earlier" in done.stdout


@pytest.mark.parametrize("model", ["somebody/other", "not--a-name"])
def test_a_model_that_the_hub_does_not_have_is_said(
    small: dict[str, bytes], tmp_path: Path, model: str
) -> None:
    with hub(MODEL, small) as server:
        done = package(server, tmp_path / "home", tmp_path / "store", model)
    assert f"no model on the hub is called {model}" in refusal(done, tmp_path / "store")


def test_a_gated_model_is_said(small: dict[str, bytes], tmp_path: Path) -> None:
    with hub(MODEL, small, "gated") as server:
        done = package(server, tmp_path / "home", tmp_path / "store")
    assert "is gated: ask for access" in refusal(done, tmp_path / "store")


def test_a_private_model_needs_a_token_which_is_not_told(
    small: dict[str, bytes], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with hub(MODEL, small, "private") as server:
        for token in ("", "hf_wrong"):
            done = package(server, home, tmp_path / "store", token=token)
            told = refusal(done, tmp_path / "store")
            assert "a private one needs HF_TOKEN" in told
            assert "hf_wrong" not in told
        assert not server.downloaded
        done = package(server, home, tmp_path / "store", MODEL, "--check", token=TOKEN)
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr


def test_a_connection_that_is_closed_early_is_opened_again(
    small: dict[str, bytes], tmp_path: Path
) -> None:
    with hub(MODEL, small, "closed") as server:
        done = package(server, tmp_path / "home", tmp_path / "store", MODEL, "--check")
        assert done.returncode == 0, done.stderr
        assert not server.trouble


def test_a_revision_is_taken_or_said_to_be_none(small: dict[str, bytes], tmp_path: Path) -> None:
    with hub(MODEL, small) as server:
        done = package(server, tmp_path / "home", tmp_path / "store", f"{MODEL}@v1.2", "--check")
        assert done.returncode == 0, done.stderr
        assert "whole and finite" in done.stdout
        done = package(server, tmp_path / "home", tmp_path / "store", f"{MODEL}@v9", "--check")
    assert f"{MODEL} on the hub has no revision v9" in refusal(done, tmp_path / "store")


def test_weights_in_no_form_that_is_read_are_refused_before_they_are_downloaded(
    small: dict[str, bytes], tmp_path: Path
) -> None:
    small["model.onnx"] = small.pop("model.safetensors")
    with hub(MODEL, small) as server:
        done = package(server, tmp_path / "home", tmp_path / "store")
    assert "model.onnx is ONNX, an export for another program" in refusal(done, tmp_path / "store")
    small["weights.xyz"] = small.pop("model.onnx")
    with hub(MODEL, small) as other:
        done = package(other, tmp_path / "home", tmp_path / "store")
    told = refusal(done, tmp_path / "store")
    assert "no weights in a format that is read; there is " in told and "weights.xyz" in told
    assert not server.downloaded and not other.downloaded


def test_a_model_is_named_by_its_page_too(small: dict[str, bytes], tmp_path: Path) -> None:
    with hub(MODEL, small) as server:
        for address in (
            f"https://huggingface.co/{MODEL}",
            f"hf.co/{MODEL}/",
            f"https://huggingface.co/{MODEL}/tree/v1.2?library=transformers",
        ):
            done = package(server, tmp_path / "home", tmp_path / "store", address, "--check")
            assert done.returncode == 0, done.stderr
            assert f"looking for {MODEL} on the Hugging Face hub" in done.stdout
    assert f"checking {MODEL}@v1.2" in done.stdout


def test_a_download_cut_in_the_middle_is_said_and_can_be_taken_up_again(
    large: dict[str, bytes], tmp_path: Path
) -> None:
    with hub(MODEL, large, "cut") as server:
        done = package(server, tmp_path / "home", tmp_path / "store")
    assert f"the download of {MODEL} was interrupted" in refusal(done, tmp_path / "store")
    # Half a model is not taken for a whole one.
    done = package(NOWHERE, tmp_path / "home", tmp_path / "store")
    assert "cannot be reached" in refusal(done, tmp_path / "store")
    with hub(MODEL, large) as server:
        done = package(server, tmp_path / "home", tmp_path / "store", MODEL, "--check")
    assert done.returncode == 0, done.stderr
    assert "going on with model.safetensors" in done.stdout
    assert 0 < server.started_at["model.safetensors"] < len(large["model.safetensors"])
    assert not list((tmp_path / "home").rglob("*.part"))


def test_a_part_that_is_not_of_the_file_is_thrown_away(
    large: dict[str, bytes], tmp_path: Path
) -> None:
    with hub(MODEL, large, "cut") as server:
        package(server, tmp_path / "home", tmp_path / "store")
        [part] = (tmp_path / "home").rglob("*.part")
        part.write_bytes(bytes(part.stat().st_size))
        server.trouble = ""
        done = package(server, tmp_path / "home", tmp_path / "store")
        assert "model.safetensors came broken from the hub" in refusal(done, tmp_path / "store")
        done = package(server, tmp_path / "home", tmp_path / "store", MODEL, "--check")
        assert done.returncode == 0, done.stderr


def test_a_cache_that_can_not_be_written_is_said(small: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a directory should be")
    with hub(MODEL, small) as server:
        done = package(server, tmp_path / "home", tmp_path / "store")
    told = refusal(done, tmp_path / "store")
    assert f"cannot write to {tmp_path}/home/" in told
    assert f"{tmp_path}/home is a file, and a folder is needed" in told


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is mounted, which needs root")
def test_a_full_disk_under_the_cache_is_said(small: dict[str, bytes], tmp_path: Path) -> None:
    disk = tmp_path / "home"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        with hub(MODEL, small) as server:
            done = package(server, disk, tmp_path / "store")
        assert f"no space left on the disk of {disk}" in refusal(done, tmp_path / "store")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
