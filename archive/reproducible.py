"""Writes an archive anew so that the same files give the same bytes: order, times and rights.

torch-model-archiver takes files as the disk lists them, with their times, and says when it ran.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import zipfile
from pathlib import Path

MANIFEST = "MAR-INF/MANIFEST.json"
# The first day that a zip file can name. SOURCE_DATE_EPOCH, seconds since 1970, sets another:
# https://reproducible-builds.org/docs/source-date-epoch/
FIRST_SECOND = 315_532_800
LAST_SECOND = 4_354_819_199
REGULAR_FILE = 0o100644
AT_ONCE = 1 << 20


def rewrite(made: Path, target: Path) -> None:
    """Write the files of one archive into another, each as it would always be written."""
    when = time.gmtime(_seconds())
    with zipfile.ZipFile(made) as packed, zipfile.ZipFile(target, "w") as written:
        for entry in sorted(packed.infolist(), key=lambda entry: entry.filename):
            about = zipfile.ZipInfo(entry.filename, when[:6])
            about.create_system = 3  # Unix, whose rights follow
            about.external_attr = REGULAR_FILE << 16
            about.file_size = entry.file_size
            if entry.filename == MANIFEST:
                written.writestr(about, _manifest(packed.read(entry), when))
                continue
            with packed.open(entry) as source, written.open(about, "w") as copy:
                shutil.copyfileobj(source, copy, AT_ONCE)


def _seconds() -> int:
    """The time that everything in an archive has."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    seconds = int(given) if given.isascii() and given.isdigit() else FIRST_SECOND
    return min(max(seconds, FIRST_SECOND), LAST_SECOND)


def _manifest(text: bytes, when: time.struct_time) -> bytes:
    manifest = json.loads(text)
    manifest["createdOn"] = time.strftime("%d/%m/%Y %H:%M:%S", when)
    return (json.dumps(manifest, indent=2) + "\n").encode()
