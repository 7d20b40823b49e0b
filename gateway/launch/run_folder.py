"""TorchServe's working folder: private, with a short, plain name, whatever TMPDIR is called.

The kernel takes no path of a socket beyond 107 bytes, and TorchServe keeps its workers' sockets
beside the models that it unpacks. These may be large, so they go to TMPDIR; where its name is too
long or not plain, TorchServe is given a link to it.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gateway.launch.folders import Folder, clear_dead

PLAIN = re.compile(r"[A-Za-z0-9/._+-]+")
# Of the folder that holds ours: behind it come our name, a link's and /.ts.sock.65535.
LONGEST_PARENT = 50
SHORT_PARENTS = ("/tmp", "/var/tmp", "/dev/shm")


class NoFolder(Exception):
    """There is no folder to run in; one line that says what is needed."""


class RunFolder:
    """The folder of one TorchServe; what dead ones left is cleared first.

    Raises:
        NoFolder: There is no folder for it.
    """

    def __init__(self) -> None:
        large = _folder_for_large_files()
        for parent in {large, *_short_parents()}:
            clear_dead(parent)
        self._folders = [_make_in([large, *_short_parents()])]
        self.path = self._folders[0].path
        # Where TorchServe keeps sockets and unpacks models.
        self.temporary = self.path
        if self.path.parent != large:
            try:
                self._folders.append(Folder(large))
            except OSError as error:
                self.remove()
                raise NoFolder(f"cannot write to {large}: {error.strerror}") from None
            self.temporary = self.link("tmp", self._folders[1].path)

    def link(self, name: str, target: Path) -> Path:
        """Give `target` a plain name in here, for those who cannot read its own."""
        link = self.path / name
        link.symlink_to(target.absolute())
        return link

    def remove(self) -> None:
        """Delete it."""
        for folder in self._folders:
            folder.remove()


def _folder_for_large_files() -> Path:
    try:
        return Path(tempfile.gettempdir()).absolute()
    except FileNotFoundError:
        raise NoFolder(
            "no folder for temporary files is writable; set TMPDIR to one that is"
        ) from None


def _short_parents() -> Iterator[Path]:
    for name in (os.environ.get("XDG_RUNTIME_DIR", ""), *SHORT_PARENTS):
        if os.path.isabs(name):
            yield Path(name)


def _make_in(parents: list[Path]) -> Folder:
    """Make the folder in the first parent that takes it and has a short and plain name."""
    for parent in parents:
        if len(str(parent)) <= LONGEST_PARENT and PLAIN.fullmatch(str(parent)):
            try:
                return Folder(parent)
            except OSError:
                continue
    raise NoFolder(
        f"sockets need a folder with a name of at most {LONGEST_PARENT} plain letters: "
        f"set TMPDIR to one, or make one of {', '.join(SHORT_PARENTS)} writable"
    )
