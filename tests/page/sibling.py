"""A model that differs from the embedded one: other weights, and a quarter of its context."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.conftest import EMBEDDED_MODEL, ROOT

CONTEXT = 128


def pack_sibling(store: Path, folder: Path) -> None:
    """Put the archive `sibling.mar` into a store; its checkpoint is made in the folder."""
    noise = np.random.default_rng(1)
    tensors = load_file(EMBEDDED_MODEL / "model.safetensors")
    for name, values in tensors.items():
        if "wpe" in name:
            tensors[name] = values[:CONTEXT].copy()
        elif ".h.3." in name and values.ndim == 2:
            moved = values + noise.standard_normal(values.shape) * values.std() / 2
            tensors[name] = moved.astype(values.dtype)
    save_file(tensors, folder / "model.safetensors")
    config = json.loads((EMBEDDED_MODEL / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"n_positions": CONTEXT}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(EMBEDDED_MODEL / name, folder)
    command = [sys.executable, "-m", "archive", "--model", str(folder), "--name", "sibling"]
    subprocess.run([*command, "--output", str(store)], cwd=ROOT, check=True, timeout=540)
