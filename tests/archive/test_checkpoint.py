"""Weights as people save them: in halves too, read as the numbers they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.archive.checkpoints import ROOT, write_checkpoint

# A process of its own: what other modules teach numpy about bfloat16 must not be needed.
READ = """
import sys
from pathlib import Path
import numpy as np
from archive.checkpoint import load_checkpoint
assert "torch" not in sys.modules
np.savez(sys.argv[2], **load_checkpoint(Path(sys.argv[1]), "test").weights)
"""


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_halves_are_read_as_they_are(tmp_path: Path, half: torch.dtype) -> None:
    write_checkpoint(tmp_path)
    path = tmp_path / "model.safetensors"
    halves = {name: weight.to(half) for name, weight in load_file(path).items()}
    save_file(halves, path, metadata={"format": "pt"})
    command = [sys.executable, "-c", READ, str(tmp_path), str(tmp_path / "read.npz")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "read.npz") as read:
        assert set(read.files) == set(halves)
        for name, weight in halves.items():
            assert read[name].dtype == np.float32
            assert np.array_equal(read[name], weight.float().numpy())
