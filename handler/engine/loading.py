"""Loads what computes a model: the engine that the archive's settings name."""

from __future__ import annotations

from pathlib import Path

from handler.engine.errors import ModelError
from handler.engine.model import Model, ModelShape
from handler.engine.settings import EngineSettings


def load_model(directory: Path, shape: ModelShape, settings: EngineSettings) -> Model:
    """Load what the archive carries, with the engine its settings name.

    Raises:
        ModelError: The weights are missing or cannot be read.
    """
    if settings.kind == "torch":
        try:  # torch costs a second, and need not be installed: only where used
            from handler.engine.torch_model import TorchModel
        except ModuleNotFoundError as error:
            raise ModelError(
                f"engine: torch needs {error.name}, which is not installed: "
                "./scripts/serve --model ARCHIVE.mar installs it, ./scripts/image --torch has it"
            ) from None

        return TorchModel.load(directory / "model.safetensors", shape, settings)
    from handler.engine.native_model import NativeModel

    return NativeModel.load(directory, shape, settings)
