"""Writes an archive anew so that the same files give the same bytes: order, times and rights.

torch-model-archiver takes files as the disk lists them, with their times, and says when it ran.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

MANIFEST = "MAR-INF/MANIFEST.json"
# The first day that a zip file can name. SOURCE_DATE_EPOCH, seconds since 1970, sets another:
# https://reproducible-builds.org/docs/source-date-epoch/
FIRST_SECOND = 315_532_800
LAST_SECOND = 4_354_819_199
REGULAR_FILE = 0o100644
AT_ONCE = 1 << 20


def write_anew(made: Path, target: Path, name: str, archive_format: str) -> None:
    """Write the files of an archive into another, each as it would always be written.

    Args:
        made: A `.mar` of torch-model-archiver's.
        target: What is written: a file, or a folder for the format `no-archive`.
        name: The model's; of a `.tar.gz` every file's name begins with it.
        archive_format: torch-model-archiver's word for it.
    """
    write = {"default": _write_zip, "tgz": _write_tar, "no-archive": _write_folder}
    with zipfile.ZipFile(made) as packed:
        write[archive_format](packed, target, name)


def _write_zip(packed: zipfile.ZipFile, target: Path, name: str) -> None:
    when = time.gmtime(_seconds())
    with zipfile.ZipFile(target, "w") as written:
        for path, size, source in _files(packed):
            about = zipfile.ZipInfo(path, when[:6])
            about.create_system = 3  # Unix, whose rights follow
            about.external_attr = REGULAR_FILE << 16
            about.file_size = size
            with written.open(about, "w") as copy:
                shutil.copyfileobj(source, copy, AT_ONCE)


def _write_tar(packed: zipfile.ZipFile, target: Path, name: str) -> None:
    with (
        target.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=_seconds()) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as written,
    ):
        for path, size, source in _files(packed):
            about = tarfile.TarInfo(f"{name}/{path}")
            about.size, about.mtime = size, _seconds()
            written.addfile(about, source)


def _write_folder(packed: zipfile.ZipFile, target: Path, name: str) -> None:
    for path, _, source in _files(packed):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        with (target / path).open("wb") as copy:
            shutil.copyfileobj(source, copy, AT_ONCE)


def _files(packed: zipfile.ZipFile) -> Iterator[tuple[str, int, IO[bytes]]]:
    """The files of an archive in order: name, size and content of each."""
    when = time.gmtime(_seconds())
    for entry in sorted(packed.infolist(), key=lambda entry: entry.filename):
        if entry.filename == MANIFEST:
            manifest = _manifest(packed.read(entry), when)
            yield entry.filename, len(manifest), io.BytesIO(manifest)
        else:
            with packed.open(entry) as source:
                yield entry.filename, entry.file_size, source


def _seconds() -> int:
    """The time that everything in an archive has."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    seconds = int(given) if given.isascii() and given.isdigit() else FIRST_SECOND
    return min(max(seconds, FIRST_SECOND), LAST_SECOND)


def _manifest(text: bytes, when: time.struct_time) -> bytes:
    manifest = json.loads(text)
    manifest["createdOn"] = time.strftime("%d/%m/%Y %H:%M:%S", when)
    return (json.dumps(manifest, indent=2) + "\n").encode()
