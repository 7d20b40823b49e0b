"""Turns errors of the disk into one line that names the place and what to do."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archive.errors import PackagingError

FULL = (errno.ENOSPC, errno.EDQUOT)
# Of a place that cannot be written to; other errors are no disk's.
BARRED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ELOOP)
FAULTS = (*FULL, *BARRED, errno.ENAMETOOLONG, errno.EIO)


@contextmanager
def telling_disk_faults(directory: Path) -> Iterator[None]:
    """Turn a disk's errors into one clear line, about `directory` where they name no file."""
    try:
        yield
    except OSError as error:
        if error.errno not in FAULTS and _dangling(error) is None:
            raise
        raise PackagingError(disk_fault(error, directory)) from None


def disk_fault(error: OSError, directory: Path | None = None) -> str:
    """Return what a person is told of an error of the system.

    Args:
        error: As it was raised.
        directory: What it is about where it names no file.
    """
    path = _path_of(error) or directory
    reason = error.strerror or str(error) or type(error).__name__
    if path is None:
        return reason
    if error.errno in FULL:
        return f"no space left on the disk of {directory or path}"
    link = _dangling(error)
    if link is not None:
        return (
            f"cannot write to {path}: {link} is a link to {os.readlink(link)}, which is not "
            "there; make that folder, or remove the link"
        )
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        file = next((each for each in (path, *path.parents) if os.path.isfile(each)), None)
        if file is not None:
            return f"cannot write to {path}: {file} is a file, and a folder is needed"
    what = "read" if os.path.isfile(path) and not os.access(path, os.R_OK) else "write to"
    return f"cannot {what} {path}: {reason}"


def _path_of(error: OSError) -> Path | None:
    named = error.filename
    return Path(os.fsdecode(named)) if isinstance(named, str | bytes) and named else None


def _dangling(error: OSError) -> Path | None:
    """The link to what is not there on the way to the place that an error names, if any."""
    path = _path_of(error)
    ways = () if path is None else (path, *path.parents)
    return next((each for each in ways if os.path.islink(each) and not os.path.exists(each)), None)
