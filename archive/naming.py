"""What an archive is called, and whether one of that name may be replaced."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
import zipfile
from pathlib import Path

from archive.errors import PackagingError
from archive.formats.elsewhere import cached_name
from handler.model_name import LONGEST

ROOT = Path(__file__).resolve().parent.parent
NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")


def plain_name(name: str) -> str:
    """Return a name as a person gives it as an archive's: without `.mar`.

    >>> plain_name("mine.mar")
    'mine'
    """
    return re.sub(r"(\.mar)+$", "", name)


def default_name(model: str) -> str:
    """Return the name for the archive of a directory or a hub id: its own, in plain letters.

    Raises:
        PackagingError: It holds no plain letter.
    """
    path = Path(model).expanduser()
    own = path.resolve().name if path.exists() else model.rpartition("/")[2]
    own = Path(own).stem if path.is_file() else own
    if path.is_dir() and (cached := cached_name(path.resolve())) is not None:
        own = cached.rpartition("/")[2]
    letters = unicodedata.normalize("NFKD", plain_name(own)).encode("ascii", "ignore").decode()
    name = re.sub("--+", "-", NOT_PLAIN.sub("-", letters)).strip("-_.")[:LONGEST].rstrip("-_.")
    if not name:
        raise PackagingError(f"--name is needed: {model} has no plain letter to make one from")
    return name


def source_id(model: str) -> str:
    """Return a digest of where a model comes from, a directory or a hub id.

    One in the checkout goes by its path there, so that every checkout packs the same bytes.
    """
    path = Path(model).expanduser()
    if not path.exists():
        return hashlib.sha256(model.encode()).hexdigest()[:16]
    place = path.resolve()
    place = place.relative_to(ROOT) if place.is_relative_to(ROOT) else place
    return hashlib.sha256(os.fsencode(place)).hexdigest()[:16]


def check_replaceable(archive: Path, source: str) -> None:
    """Raise PackagingError if a file is there that is no archive of the same model."""
    if archive.is_dir():
        raise PackagingError(f"{archive} is a directory; give another --name")
    if not os.path.lexists(archive):
        return
    try:
        with zipfile.ZipFile(archive) as packed:
            metadata = json.loads(packed.read("model/archive.json"))
        if metadata.get("source") == source:
            return
        what = f"holds another model ({metadata['checkpoint']})"
    except (OSError, KeyError, ValueError, AttributeError, TypeError, zipfile.BadZipFile):
        what = "exists, and is no archive of this command"
    raise PackagingError(f"{archive} {what}; give another --name, or --replace to overwrite it")
