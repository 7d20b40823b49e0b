"""Reads the JSON files of a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from archive.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; CheckpointError names the file if it is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"no {path.name} in the checkpoint") from None
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise CheckpointError(f"{path.name} is broken: it is not JSON") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path.name} is broken: it is not a JSON object")
    return value
