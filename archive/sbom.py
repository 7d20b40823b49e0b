"""The CycloneDX bill of materials of an archive (sbom.cdx.json in it).

The model with its files' digests, the handler, and the packages that the handler needs. Nothing in
it tells when or where it was made, so the same archive has the same one.
"""

from __future__ import annotations

import json
import tomllib
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SBOM = "sbom.cdx.json"
SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
ROOT = Path(__file__).resolve().parent.parent

Json = dict[str, Any]


def add_sbom(
    content: Path,
    *,
    name: str,
    version: str,
    checkpoint: str,
    license_name: str | None,
    files: Mapping[str, str],
    requirements: Iterable[str],
) -> None:
    """Write the bill of materials of staged files; `files`: their digests, by path."""
    model: Json = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": name,
        "version": version,
        "description": f"GPT-2 of the checkpoint {checkpoint}",
        "components": [
            {
                "type": "file",
                "bom-ref": path,
                "name": path,
                "hashes": [{"alg": "SHA-256", "content": digest}],
            }
            for path, digest in sorted(files.items())
        ],
    }
    if license_name:
        # As the model card says it, which need not be an SPDX identifier.
        model["licenses"] = [{"license": {"name": license_name}}]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    handler = {
        "type": "application",
        "bom-ref": "handler",
        "name": project["name"],
        "version": project["version"],
        "licenses": [{"license": {"id": project["license"]}}],
    }
    packages = [_package(pin) for pin in sorted(requirements)]
    bill: Json = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": model},
        "components": [handler, *packages],
        "dependencies": [
            {"ref": "model", "dependsOn": ["handler"]},
            {"ref": "handler", "dependsOn": [each["bom-ref"] for each in packages]},
        ],
    }
    bill["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bill, sort_keys=True)).urn
    (content / SBOM).write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")


def _package(pin: str) -> Json:
    name, _, version = pin.partition("==")
    url = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    return {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}
