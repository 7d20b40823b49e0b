"""Puts a checkpoint's weights into an archive as they are."""

from __future__ import annotations

from pathlib import Path

from archive.checkpoint import Checkpoint, weight_shapes
from handler.engine.native.array_sizes import ArrayKind
from handler.engine.native.arrays_file import write_tensors


def copy_weights(checkpoint: Checkpoint, directory: Path) -> None:
    """Put the weights into model.safetensors, in float32, one at a time."""
    weights = checkpoint.weights
    kinds = {
        name: ArrayKind("float32", shape) for name, shape in weight_shapes(checkpoint.shape).items()
    }
    arrays = ((name, weights[name]) for name in kinds)
    write_tensors(directory / "model.safetensors", kinds, arrays, {"format": "pt"})
