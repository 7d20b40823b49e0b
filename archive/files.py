"""Puts a checkpoint's weights into an archive as they are."""

from __future__ import annotations

from pathlib import Path

from safetensors.numpy import save_file

from archive.checkpoint import Checkpoint


def copy_weights(checkpoint: Checkpoint, directory: Path) -> None:
    """Put the weights into model.safetensors, in float32."""
    target = directory / "model.safetensors"
    save_file(dict(checkpoint.weights), target, metadata={"format": "pt"})
