"""What a person asked the packager for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from archive.packing import ROOT, Target

PRECISIONS = ("auto", "static-7bit", "rows-7bit", "rows-8bit", "fp32")
CACHES = ("auto", "int8", "float32")


@dataclass(frozen=True)
class Settings:
    """One run of the packager."""

    model: str
    target: Target
    engine: str = "onnx"
    precision: str = "auto"
    cache: str = "auto"
    calibration_text: Path | None = None
    model_config: Path = ROOT / "config" / "model-config.yaml"
