"""Recognises a file by its first bytes where its name says something else."""

from __future__ import annotations

import re
import struct
from pathlib import Path

from archive.errors import CheckpointError
from archive.formats.elsewhere import EXPORTED
from archive.reading import refuse_pointer

HEAD = 4096
ZIP = b"PK\x03\x04"
TEXTS = (b"<!doctype", b"<html", b"<?xml", b"<head")
PACKED = (b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"\xfd7zXZ", b"BZh", b"\x28\xb5\x2f\xfd")
# Of llama.cpp before GGUF, as they lie in the file.
GGML = (b"lmgg", b"fmgg", b"tjgg", b"algg")
# CTranslate2: a version, the length of a name, the name of a specification.
SPECIFICATION = re.compile(rb"\w+Spec\0", re.ASCII)
LARGEST_VERSION = 100


def pattern_of(path: Path) -> str | None:
    """Return the pattern of names by which a file's format is known, where its first bytes say it.

    None where it is not, and its name decides.

    Raises CheckpointError if it begins as something that holds no weights, or none that are read.
    """
    refuse_pointer(path)
    with path.open("rb") as file:
        head = file.read(HEAD)
    _refuse(path.name, head)
    if head.startswith(b"GGUF"):
        return "*.gguf"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "*.h5"
    if head.startswith(ZIP):
        return "*.pt"
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 0 < length <= path.stat().st_size:
        return "*.safetensors"
    return None


def _refuse(name: str, head: bytes) -> None:
    start = head.lstrip()[:9].lower()
    if start.startswith(TEXTS):
        raise CheckpointError(f"{name} is a web page, not weights: download it again")
    if start.startswith(b'{"') and not name.endswith(".json"):
        raise CheckpointError(
            f"{name} is JSON, not weights, such as an error that came in place of a download: "
            "download it again"
        )
    if head.startswith(PACKED):
        raise CheckpointError(f"{name} is packed together: unpack it, and name what comes")
    if head.startswith(GGML):
        raise CheckpointError(
            f"{name} is GGML from before GGUF: convert the checkpoint again, with llama.cpp's "
            "converter"
        )
    if _is_ctranslate2(head):
        raise CheckpointError(f"{name} is CTranslate2's, {EXPORTED}")
    if head and not any(head):
        raise CheckpointError(f"{name} holds nothing but zeros: download it again")


def _is_ctranslate2(head: bytes) -> bool:
    if len(head) < 6:
        return False
    version, length = struct.unpack("<IH", head[:6])
    name = head[6 : 6 + length]
    return 0 < version < LARGEST_VERSION and SPECIFICATION.fullmatch(name) is not None
