"""The likely cause of a failed set-up, from the output of Python or pip."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from commands.errors import CommandError

FULL = ("No space left", "isk quota exceeded")
NOT_WRITABLE = re.compile(r"(Permission denied|Read-only file system)[^\n]*")
# pip's, of a file that is another than requirements.lock names.
UNKNOWN_HASH = "DO NOT MATCH THE HASHES"
# pip's, of a proxy that it could reach with a package which it has not.
SOCKS = "Missing dependencies for SOCKS support"
# Ours, of a pip that was killed.
ENDED_BY = "pip was ended by"
MEGABYTE = 1_000_000
# A disk with less is full: Python's venv does not say that it was.
NEXT_TO_NOTHING = 20 * MEGABYTE


def cause_of(words: str, place: Path, otherwise: str) -> str:
    """Return why something could not be made at `place`, given what was said."""
    root = place.parent
    if any(full in words for full in FULL):
        return f"no space is left on the disk of {root}, or on that of {tempfile.gettempdir()}"
    denied = NOT_WRITABLE.search(words)
    if denied:
        return f"{root} cannot be written: {denied[0]}"
    if UNKNOWN_HASH in words:
        return (
            "a downloaded file does not match its hash in requirements.lock; nothing was installed"
        )
    if SOCKS in words:
        return "pip reaches no SOCKS proxy; unset ALL_PROXY, or name an HTTP one in https_proxy"
    if ENDED_BY in words:
        killed = words[words.rindex(ENDED_BY) :].strip()
        return f"{killed}, probably because memory ran out; run the command again to continue"
    if "PATH separator" in words:
        return f"Python cannot create one in a folder with a ':' in its path; move {root}"
    if free_bytes(place) < NEXT_TO_NOTHING:
        return f"no space is left on the disk of {place}"
    return otherwise


def check_space(place: Path, fetched: int, left: int) -> None:
    """Raise CommandError unless there is room, in MB, for what is fetched and what is left.

    Packages are fetched to the folder for temporary files, and unpacked at `place`.
    """
    temporary = Path(tempfile.gettempdir())
    wanted = {place: left, temporary: fetched}
    if _device(place) == _device(temporary):
        wanted = {place: left + fetched}
    for directory, megabytes in wanted.items():
        free = free_bytes(directory) // MEGABYTE
        if free < megabytes:
            raise CommandError(
                f"too little space on the disk of {directory}: {megabytes:,} MB are needed, "
                f"{free:,} MB are free" + (" (TMPDIR names another)" * (directory == temporary))
            )


def free_bytes(place: Path) -> int:
    """Return what is free where `place` is or would be."""
    return shutil.disk_usage(_existing(place)).free


def _device(place: Path) -> int:
    return os.stat(_existing(place)).st_dev


def _existing(place: Path) -> Path:
    return next(each for each in (place, *place.absolute().parents) if each.exists())
