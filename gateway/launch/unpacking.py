"""Unpacks the archives that TorchServe starts with, so that it only links to them.

TorchServe would unpack them itself, and hash every byte in Java besides: a second and a half for
200 MB. Here a large file that lies in the archive as it is gets copied by the kernel.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import IO

# Of the header in front of an entry's bytes: its size, and where the sizes of name and extra stand.
HEADER_BYTES, NAME_SIZE_AT = 30, 26
LARGE_BYTES = 1 << 20
# An archive with this file in it is compared by its handler, file by file.
COMPARED = "model/archive.json"


def unpack(archive: Path, directory: Path) -> None:
    """Unpack an archive that was judged (`archive_file.check`) into a new directory.

    Raises:
        OSError: There is no room, or it cannot be read.
        zipfile.BadZipFile: A file in it is not what it was.
    """
    directory.mkdir(parents=True)
    with archive.open("rb") as file, zipfile.ZipFile(file) as packed:
        is_compared = COMPARED in packed.namelist()
        for entry in packed.infolist():
            is_plain = entry.compress_type == zipfile.ZIP_STORED and not entry.is_dir()
            if not (is_plain and is_compared and entry.file_size >= LARGE_BYTES):
                packed.extract(entry, directory)
                continue
            target = directory / entry.filename.lstrip("/")
            if ".." in target.parts:
                raise zipfile.BadZipFile(f"{entry.filename} points outside the archive")
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(file, entry, target)


def _copy(file: IO[bytes], entry: zipfile.ZipInfo, target: Path) -> None:
    """Copy an entry's bytes as they lie in the archive."""
    file.seek(entry.header_offset)
    header = file.read(HEADER_BYTES)
    sizes = header[NAME_SIZE_AT:HEADER_BYTES]
    start = entry.header_offset + HEADER_BYTES
    start += int.from_bytes(sizes[:2], "little") + int.from_bytes(sizes[2:], "little")
    with target.open("wb") as made:
        copied = 0
        while copied < entry.file_size:
            left = entry.file_size - copied
            sent = os.sendfile(made.fileno(), file.fileno(), start + copied, left)
            if not sent:
                raise zipfile.BadZipFile(f"{entry.filename} is cut short")
            copied += sent
