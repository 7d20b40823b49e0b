"""The name of an archive, and whether an existing one may be replaced."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

from archive.errors import PackagingError
from archive.formats.elsewhere import cached_name
from handler.model_name import LONGEST

ROOT = Path(__file__).resolve().parent.parent
# The address of a model's page on the hub, as a browser shows it.
PAGE = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?P<id>[\w.-]+/[\w.-]+)"
    r"(?:/tree/(?P<revision>[\w./-]+?))?/?(?:[?#].*)?"
)
# In an archive: what it is.
METADATA = "model/archive.json"
NO_ARCHIVE = (zipfile.BadZipFile, tarfile.TarError, EOFError)
NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")


def plain_name(name: str) -> str:
    """Return a name as a person gives it as an archive's: without `.mar`.

    >>> plain_name("mine.mar")
    'mine'
    """
    return re.sub(r"(\.mar)+$", "", name)


def hub_name(model: str) -> str:
    """Return ID or ID@REVISION for the address of a model's page on the hub.

    >>> hub_name("https://huggingface.co/openai-community/gpt2/tree/main")
    'openai-community/gpt2@main'
    """
    page = PAGE.fullmatch(model)
    return model if page is None else "@".join(filter(None, (page["id"], page["revision"])))


def default_name(model: str) -> str:
    """Return the name for the archive of a directory or a hub id: its own, in plain letters.

    Raises:
        PackagingError: It holds no plain letter.
    """
    path = Path(model).expanduser()
    own = path.resolve().name if path.exists() else hub_name(model).rstrip("/").rpartition("/")[2]
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
        return hashlib.sha256(hub_name(model).encode()).hexdigest()[:16]
    place = path.resolve()
    place = place.relative_to(ROOT) if place.is_relative_to(ROOT) else place
    return hashlib.sha256(os.fsencode(place)).hexdigest()[:16]


def check_replaceable(archive: Path, source: str) -> None:
    """Raise PackagingError if something is there that is no archive of the same model."""
    if archive.is_dir() and archive.suffix in (".mar", ".gz"):
        raise PackagingError(f"{archive} is a directory; give another --name")
    if not os.path.lexists(archive):
        return
    try:
        metadata = _metadata(archive)
        if metadata.get("source") == source:
            return
        what = f"holds another model ({metadata['checkpoint']})"
    except (*NO_ARCHIVE, OSError, KeyError, ValueError, AttributeError, TypeError):
        what = "exists, and is no archive of this command"
    raise PackagingError(f"{archive} {what}; give another --name, or --replace to overwrite it")


def _metadata(archive: Path) -> Any:
    """What an archive of any format says of itself."""
    if archive.is_dir():
        return json.loads((archive / METADATA).read_bytes())
    if archive.suffix == ".gz":
        with tarfile.open(archive) as packed:
            file = packed.extractfile(f"{archive.name.removesuffix('.tar.gz')}/{METADATA}")
            return json.loads(file.read()) if file is not None else None
    with zipfile.ZipFile(archive) as packed_zip:
        return json.loads(packed_zip.read(METADATA))
