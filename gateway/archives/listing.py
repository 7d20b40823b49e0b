"""The archives of the model store that MODEL_ARCHIVES names, and what each says of itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.archives import archive_file
from gateway.archives.manifest import read_manifest
from gateway.errors import BadRequest
from handler.content import strict_json

logger = logging.getLogger("gateway.archives")

# All archives of the store.
EVERY = "*"
# What packaging writes of a model (handler/archive_metadata.py); other kinds have none.
METADATA = "model/archive.json"
MOST_METADATA_BYTES = 16 << 20
# Of it, what is told of a model that was never loaded.
TOLD = (
    *("checkpoint", "parameters", "engine", "precision", "form", "cache", "license"),
    *("size_bytes", "content_sha256"),
)
# Of its shape, by the names of a model's card.
TOLD_OF_SHAPE = {"context_length": "max_length", "vocab_size": "vocab_size"}


class NoSuchArchive(Exception):
    """One that is named cannot be served; one line that says why."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An archive that is loaded when somebody asks for its model."""

    archive: str
    model: str
    version: str
    # Seconds since 1970.
    created: int
    # Bytes of its files, unpacked.
    size: int
    about: dict[str, Any] = field(default_factory=dict)


def list_archives(
    store: Path, names: tuple[str, ...], own: str, bounds: archive_file.Bounds
) -> Iterator[Listed]:
    """Yield the archives that are named, in the order of their names, without the service's own.

    Of `*` what cannot be served is left out, with a line in the log.

    Raises:
        NoSuchArchive: One that is named by itself is not there, or cannot be served.
    """
    wanted = sorted({name for name in names if name not in (EVERY, own)})
    found = set(wanted)
    if EVERY in names:
        found |= {path.name for path in store.glob("*.mar")} - {own}
    taken: dict[tuple[str, str], str] = {}
    for name in sorted(found):
        try:
            listed = _read(store, name, bounds)
            first = taken.setdefault((listed.model, listed.version), name)
            if first != name:
                raise NoSuchArchive(
                    f"`{name}` is `{listed.model}` {listed.version}, and so is `{first}`; pack it "
                    "under another name or version"
                )
        except NoSuchArchive as fault:
            if name in wanted:
                raise
            logger.error("Not served: %s", fault)
            continue
        yield listed


def _read(store: Path, name: str, bounds: archive_file.Bounds) -> Listed:
    path = store / name
    if Path(name).name != name or not path.exists():
        raise NoSuchArchive(f"the model store has no {name}")
    try:
        manifest = read_manifest(path, bounds)
    except BadRequest as fault:
        raise NoSuchArchive(fault.message) from None
    created, about = int(path.stat().st_mtime), _about(path)
    return Listed(name, manifest.model, manifest.version, created, _size(path), about)


def _about(path: Path) -> dict[str, Any]:
    """What packaging wrote of the model; nothing of another kind."""
    try:
        text = archive_file.read_member(path, METADATA, MOST_METADATA_BYTES)
        found = strict_json.load(text)
        shape = found.get("shape", {})
        told = {name: found[name] for name in TOLD if name in found}
        return told | {name: shape[its] for name, its in TOLD_OF_SHAPE.items() if its in shape}
    except (archive_file.BadArchive, ValueError, TypeError, AttributeError):
        return {}


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return archive_file.unpacked_bytes(path)
