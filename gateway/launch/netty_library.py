"""Netty's native library, kept where programs may be loaded from.

With it TorchServe speaks to its workers over sockets in its own folder; without it over TCP ports.
Netty would unpack it into the folder for temporary files, which may be mounted `noexec`. The
virtual environment that our own programs are in never is.
"""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path

JAR = Path("frontend", "model-server.jar")
IN_JAR = "META-INF/native/libnetty_transport_native_epoll_"


def keep_library(torchserve: Path) -> Path | None:
    """Return the folder with the library, put there at the first start; None if it cannot be."""
    if sys.prefix == sys.base_prefix:
        return None  # the system's own folders are not ours to write to
    folder = Path(sys.prefix, "lib", "netty")
    jar = torchserve / JAR
    made = folder / "made"
    try:
        if not made.exists() or made.stat().st_mtime < jar.stat().st_mtime:
            folder.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(jar) as packed:
                for entry in packed.namelist():
                    if entry.startswith(IN_JAR):
                        _write_whole(folder / Path(entry).name, packed.read(entry))
            _write_whole(made, b"")
    except (OSError, zipfile.BadZipFile):
        return None
    return folder


def may_hold_programs(folder: Path) -> bool:
    """Whether the file system lets programs be loaded from there."""
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC


def _write_whole(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)
