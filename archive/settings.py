"""The settings of one packaging run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from archive.errors import PackagingError
from archive.options import CACHES, PRECISIONS, ROOT
from archive.packing import Target

MODEL_CONFIG = ROOT / "config" / "model-config.yaml"


@dataclass(frozen=True)
class Settings:
    """One run of the packager."""

    model: str
    target: Target
    may_replace: bool = False
    engine: str = "native"
    precision: str = "auto"
    cache: str = "auto"
    calibration_text: Path | None = None
    model_config: Path = MODEL_CONFIG
    tokenizer: str | None = None
    base: str | None = None
    checks_only: bool = False
    chat_template: Path | None = None
    layout: str = "store"


def packaging_defaults(path: Path = MODEL_CONFIG) -> dict[str, str]:
    """Return `precision` and `cache` as the part `packaging:` of model-config.yaml has them.

    Raises PackagingError for a value that is not allowed.
    """
    given = yaml.safe_load(path.read_text(encoding="utf-8")).get("packaging") or {}
    allowed = {"precision": PRECISIONS, "cache": CACHES}
    for name, value in given.items():
        if value not in allowed.get(name, ()):
            choices = ", ".join(allowed[name]) if name in allowed else "no such setting"
            raise PackagingError(f"{path.name}: packaging.{name} is {value!r}; {choices}")
    return {name: given.get(name, "auto") for name in allowed}
