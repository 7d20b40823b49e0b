"""The manifest of an archive in the model store: its model's name, version and handler."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gateway.archives import archive_file
from gateway.errors import BadRequest
from handler import model_name
from handler.content import strict_json

MANIFEST = "MAR-INF/MANIFEST.json"
MOST_BYTES = 1 << 20
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.]{0,31}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive calls itself, and the code that serves it."""

    model: str
    version: str
    handler: str
    has_config: bool


def read_manifest(archive: Path, bounds: archive_file.Bounds) -> Manifest:
    """Return what an archive says of itself; a directory is an unpacked one.

    Raises:
        BadRequest: It is not an archive that TorchServe could load, or one that it must not.
    """
    try:
        if not archive.is_dir():
            archive_file.check(archive, bounds)
        text = archive_file.read_member(archive, MANIFEST, MOST_BYTES)
    except archive_file.BadArchive as fault:
        raise BadRequest(str(fault), param="url", code="bad_archive") from None
    try:
        model = strict_json.load(text)["model"]
        made = Manifest(
            str(model["modelName"]),
            str(model.get("modelVersion", "1.0")),
            str(model.get("handler", "")),
            bool(model.get("configFile")),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise BadRequest(
            f"`{archive.name}` is not a model archive", param="url", code="bad_archive"
        ) from None
    name = made.model
    if wrong := model_name.find_fault(name):
        raise BadRequest(
            f"`{archive.name}` names its model `{name[:64]}`, but a name {wrong}; give it another "
            "with `model_name`",
            param="model_name",
        )
    if not VERSION.fullmatch(made.version):
        raise BadRequest(
            f"`{archive.name}` has an invalid version: use at most 32 letters, digits and dots",
            param="url",
            code="bad_archive",
        )
    return made
