"""Folders as others' containers read them, with an archive in its place."""

from __future__ import annotations

import json
from pathlib import Path

from archive.packing import Target

# The folder as KServe mounts it, and the ports that its wrapper around TorchServe expects.
KSERVE = """\
inference_address=http://0.0.0.0:8085
management_address=http://0.0.0.0:8085
metrics_address=http://0.0.0.0:8082
grpc_inference_port=7070
grpc_management_port=7071
enable_envvars_config=true
enable_metrics_api=true
disable_token_authorization=true
install_py_dep_per_model=true
model_store=/mnt/models/model-store
model_snapshot={snapshot}
"""


def store_of(output: Path, layout: str) -> Path:
    """Return the folder that the archive goes into."""
    return output / "model-store" if layout == "kserve" else output


def add_configuration(target: Target, layout: str) -> Path | None:
    """Write the configuration that belongs to the archive in a layout, if any; return its file.

    One worker: several freeze each other in continuous batching.
    """
    if layout != "kserve":
        return None
    worker = {"minWorkers": 1, "maxWorkers": 1, "batchSize": 64, "maxBatchDelay": 1}
    entry = {"defaultVersion": True, "marName": target.path.name, **worker, "responseTimeout": 120}
    snapshot = {
        "name": "startup.cfg",
        "modelCount": 1,
        "models": {target.name: {target.version: entry}},
    }
    file = target.directory.parent / "config" / "config.properties"
    file.parent.mkdir(exist_ok=True)
    file.write_text(KSERVE.format(snapshot=json.dumps(snapshot, separators=(",", ":"))))
    return file
