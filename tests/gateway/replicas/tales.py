"""Checkpoints like the embedded model's that write other texts: two of its layers change places."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from safetensors.numpy import load_file, save_file

from tests.conftest import EMBEDDED_MODEL, ROOT


def pack_swapped(store: Path, name: str, first: int, second: int) -> None:
    """Pack the embedded model, with two of its layers swapped, as `name` into a model store."""
    directory = store.parent / f"checkpoint-{name}"
    shutil.copytree(EMBEDDED_MODEL, directory)
    weights = load_file(EMBEDDED_MODEL / "model.safetensors")
    places = {f".h.{first}.": f".h.{second}.", f".h.{second}.": f".h.{first}."}
    swapped = {}
    for tensor, values in weights.items():
        own = next((place for place in places if place in f".{tensor}"), "")
        swapped[tensor.replace(own[1:], places[own][1:]) if own else tensor] = values
    assert swapped.keys() == weights.keys()
    save_file(swapped, directory / "model.safetensors")
    command = [sys.executable, "-m", "archive", "--model", str(directory), "--name", name]
    command += ["--precision", "int8", "--output", str(store)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=540)
