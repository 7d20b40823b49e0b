"""What an archive of the model store calls itself, in the words of its own manifest."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

from gateway.errors import BadRequest

MANIFEST = "MAR-INF/MANIFEST.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def read_manifest(archive: Path) -> tuple[str, str]:
    """Return the name and version an archive has; a directory is an unpacked one.

    Raises:
        BadRequest: It is no archive that TorchServe could load.
    """
    try:
        if archive.is_dir():
            text = (archive / MANIFEST).read_bytes()
        else:
            with zipfile.ZipFile(archive) as packed:
                text = packed.read(MANIFEST)
        model = json.loads(text)["model"]
        name, version = str(model["modelName"]), str(model.get("modelVersion", "1.0"))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile):
        raise BadRequest(
            f"`{archive.name}` is no archive of a model", param="url", code="bad_archive"
        ) from None
    if not NAME.fullmatch(name) or "--" in name:  # that is how replicas are called
        raise BadRequest(
            f"`{archive.name}` names its model `{name[:64]}`; give it another with `model_name`",
            param="model_name",
        )
    return name, version
