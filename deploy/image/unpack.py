"""Unpacks an archive at build time: unpack.py ARCHIVE DIRECTORY.

TorchServe takes a directory for an archive and only links it, so a start unzips nothing. The files
must be those that were packed: their SHA-256 is compared with the one in the archive, and nothing
is unpacked that leads out of the directory or is not what it says.
"""

from __future__ import annotations

import compileall
import hashlib
import json
import py_compile
import sys
import zipfile
from pathlib import Path

from gateway.archives import archive_file

# Written after the digest was taken, or by the archiver.
NOT_HASHED = ("model/archive.json", "MAR-INF/MANIFEST.json")


def content_digest(directory: Path) -> str:
    """Return a SHA-256 over the names, sizes and bytes of the files that packing hashed."""
    digest = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        name = str(path.relative_to(directory))
        if name in NOT_HASHED:
            continue
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def main() -> int:
    """Unpack, compare, and compile the handler, so that no start has to."""
    archive, directory = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        archive_file.check(archive, archive_file.Bounds())
    except archive_file.BadArchive as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(directory)
    stated = json.loads((directory / "model" / "archive.json").read_text())["content_sha256"]
    found = content_digest(directory)
    if found != stated:
        print(f"error: {archive.name} holds {found}, but says {stated}", file=sys.stderr)
        return 1
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH  # holds whatever copying does to times
    compileall.compile_dir(directory, quiet=1, invalidation_mode=mode)
    print(f"{directory}: sha256 {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
