"""Netty's native library, kept where programs may be loaded from.

With it TorchServe speaks to its workers over sockets in its own folder; without it over TCP ports.
Netty would unpack it into the folder for temporary files, which may be mounted `noexec`. The
virtual environment that our own programs are in never is.
"""

from __future__ import annotations

import os
import socket
import sys
import zipfile
from pathlib import Path

JAR = Path("frontend", "model-server.jar")
IN_JAR = "META-INF/native/libnetty_transport_native_epoll_"
# Below those that the kernel gives out by itself.
WORKER_PORTS = range(10_000, 30_000, 100)
NEIGHBOURS = 32


def keep_library(torchserve: Path) -> Path | None:
    """Return the folder with the library, put there at the first start; None if it can not be."""
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


def free_worker_ports() -> int:
    """Return the first of some neighbouring TCP ports that are free on 127.0.0.1."""
    for first in sorted(WORKER_PORTS, key=lambda _: os.urandom(4)):
        if all(_is_free(port) for port in range(first, first + NEIGHBOURS)):
            return first
    return WORKER_PORTS[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _write_whole(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)
