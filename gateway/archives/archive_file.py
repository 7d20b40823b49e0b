"""Judges an archive (`.mar`, a zip file) before anybody unpacks it. Needs nothing but Python.

Two kinds of readers unpack one: by the directory at its end (Python) and entry by entry from its
start (Java, in TorchServe). Both must find the same, so nothing may lie between the entries, and
what an entry says of itself is what the directory says of it.
"""

from __future__ import annotations

import stat
import struct
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MOST_FILES = 10_000
MOST_BYTES = 16 << 30
MOST_RATIO = 100  # of unpacked bytes to those of the file
# Less than this is no bomb, however well it was packed.
HARMLESS_BYTES = 64 << 20
MOST_NAME_BYTES = 255  # of each part of a path, as file systems have it
MOST_PATH_BYTES = 1024
AT_ONCE = 1 << 20
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
ENCRYPTED = 0x1 | 0x40 | 0x2000
SIZES_FOLLOW = 0x8
WIDE = 0xFFFFFFFF  # the size stands in the extra field (ZIP64)
WIDE_SIZES = 1
EXTRA_FIELD = struct.Struct("<2H")
SIZES = struct.Struct("<2Q")


class BadArchive(Exception):
    """An archive that is not unpacked; one line that names it and says why."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much an archive may become."""

    files: int = MOST_FILES
    unpacked_bytes: int = MOST_BYTES
    ratio: int = MOST_RATIO


def check(path: Path, bounds: Bounds) -> None:
    """Read all that decides what unpacking would do, and nothing of it is done.

    Raises:
        BadArchive: It would write outside its directory, become too much, or is not what it says.
    """
    try:
        if not path.is_file():  # a named pipe would be waited for
            raise BadArchive("it is not a file")
        with path.open("rb") as file, zipfile.ZipFile(file) as packed:
            entries = packed.infolist()
            _check_amount(entries, path.stat().st_size, bounds)
            _check_names(entries)
            end = 0
            for entry in sorted(entries, key=lambda entry: entry.header_offset):
                _check_kind(entry)
                if entry.header_offset != end:
                    raise BadArchive("it contains data between its entries")
                start = _check_header(file, entry)
                end = start + entry.compress_size
                if entry.compress_type == zipfile.ZIP_DEFLATED:
                    _check_packed(file, entry, start)
            if end != packed.start_dir:
                raise BadArchive("it contains data between its entries")
    except BadArchive as fault:
        raise BadArchive(f"`{path.name}` is not unpacked: {fault}") from None
    except (OSError, ValueError, NotImplementedError, EOFError, struct.error):
        raise BadArchive(f"`{path.name}` is not a readable archive") from None
    except zipfile.BadZipFile:
        raise BadArchive(f"`{path.name}` is not a zip file, or is broken") from None


def unpacked_bytes(path: Path) -> int:
    """Return how many bytes an archive that was checked has when it is unpacked."""
    with zipfile.ZipFile(path) as packed:
        return sum(entry.file_size for entry in packed.infolist())


def read_member(path: Path, name: str, most: int) -> bytes:
    """Return one file of an archive that was checked, or of one that is unpacked.

    Raises:
        BadArchive: There is none, or it is longer than `most` bytes.
    """
    try:
        if path.is_dir():
            with (path / name).open("rb") as file:
                content = file.read(most + 1)
        else:
            with zipfile.ZipFile(path) as packed, packed.open(name) as member:
                content = member.read(most + 1)
    except (OSError, ValueError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        raise BadArchive(f"`{path.name}` has no readable {name}") from None
    if len(content) > most:
        raise BadArchive(f"`{path.name}`: {name} is longer than {most} bytes")
    return content


def _check_amount(entries: list[zipfile.ZipInfo], size: int, bounds: Bounds) -> None:
    if len(entries) > bounds.files:
        raise BadArchive(f"it has {len(entries)} files; MAX_ARCHIVE_FILES is {bounds.files}")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > bounds.unpacked_bytes:
        raise BadArchive(
            f"unpacked it has {unpacked} bytes; MAX_ARCHIVE_BYTES is {bounds.unpacked_bytes}"
        )
    if unpacked > max(HARMLESS_BYTES, bounds.ratio * size):
        raise BadArchive(
            f"unpacked it is {unpacked // max(size, 1)} times its size; "
            f"MAX_ARCHIVE_RATIO is {bounds.ratio}"
        )


def _check_names(entries: list[zipfile.ZipInfo]) -> None:
    """Refuse names that lead elsewhere, and names of which one file would overwrite another."""
    taken: dict[str, bool] = {}
    for entry in entries:
        name = entry.orig_filename  # `filename` ends where a NUL does
        parts = name.removesuffix("/").split("/")
        if (
            not name.isprintable()
            or "\\" in name
            or ":" in name
            or entry.filename != name  # another one stands in the extra field
            or any(part in ("", ".", "..") for part in parts)
            or any(len(part.encode()) > MOST_NAME_BYTES for part in parts)
            or len(name.encode()) > MOST_PATH_BYTES
        ):
            raise BadArchive(f"{_shown(name)} is not the name of a file inside its directory")
        # File systems that do not distinguish cases, or spellings of `é`, write them into one.
        path = unicodedata.normalize("NFC", "/".join(parts)).casefold()
        if path in taken:
            raise BadArchive(f"{_shown(name)} occurs twice")
        taken[path] = entry.is_dir()
    for path in taken:
        above = path.rpartition("/")[0]
        while above:
            if taken.get(above) is False:
                raise BadArchive(f"{_shown(above)} is both a file and a directory")
            above = above.rpartition("/")[0]


def _check_kind(entry: zipfile.ZipInfo) -> None:
    name = _shown(entry.orig_filename)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if entry.is_dir() else stat.S_IFREG):
        raise BadArchive(f"{name} is a link, or not a regular file")
    if entry.flag_bits & ENCRYPTED:
        raise BadArchive(f"{name} is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BadArchive(f"{name} is compressed in a way that TorchServe cannot read")
    is_stored = entry.compress_type == zipfile.ZIP_STORED
    if (is_stored and entry.file_size != entry.compress_size) or (
        entry.is_dir() and entry.file_size
    ):
        raise BadArchive(f"{name} does not have the size that it claims")


def _check_header(file: IO[bytes], entry: zipfile.ZipInfo) -> int:
    """Compare an entry's own header with the directory; return where its content starts."""
    file.seek(entry.header_offset)
    raw = file.read(LOCAL_HEADER.size)
    mark, _, flags, method, _, _, crc, packed, size, *lengths = LOCAL_HEADER.unpack(raw)
    name, extra = (file.read(length) for length in lengths)
    if WIDE in (packed, size):
        size, packed = _wide_sizes(extra)
    stated = (mark, name, flags, method, crc, packed, size)
    known = (
        b"PK\x03\x04",
        entry.orig_filename.encode(),  # Java reads every name as UTF-8
        entry.flag_bits & ~SIZES_FOLLOW,
        entry.compress_type,
        entry.CRC,
        entry.compress_size,
        entry.file_size,
    )
    if stated != known:
        raise BadArchive(
            f"{_shown(entry.orig_filename)} differs from its entry in the archive's directory"
        )
    return entry.header_offset + LOCAL_HEADER.size + len(name) + len(extra)


def _wide_sizes(extra: bytes) -> tuple[int, int]:
    """The sizes of an entry beyond 4 GiB, unpacked and packed."""
    while extra:
        kind, length = EXTRA_FIELD.unpack_from(extra)
        if kind == WIDE_SIZES:
            size, packed = SIZES.unpack_from(extra, EXTRA_FIELD.size)
            return size, packed
        extra = extra[EXTRA_FIELD.size + length :]
    raise BadArchive("one of its files does not have the size that it claims")


def _check_packed(file: IO[bytes], entry: zipfile.ZipInfo, start: int) -> None:
    """Unpack a file into nothing: it may be no byte longer than it says, nor shorter."""
    file.seek(start)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    left, size, crc = entry.compress_size, 0, 0
    try:
        while not inflater.eof and size <= entry.file_size:
            packed = inflater.unconsumed_tail
            if not packed:
                packed = file.read(min(AT_ONCE, left))
                left -= len(packed)
            chunk = inflater.decompress(packed, AT_ONCE)
            size += len(chunk)
            crc = zlib.crc32(chunk, crc)
            if not packed and not chunk:
                break
    except zlib.error:
        raise BadArchive(f"{_shown(entry.orig_filename)} is broken") from None
    is_whole = inflater.eof and not left and not inflater.unused_data
    if not is_whole or (size, crc) != (entry.file_size, entry.CRC):
        raise BadArchive(f"{_shown(entry.orig_filename)} does not have the size that it claims")


def _shown(name: str) -> str:
    return f"`{ascii(name[:80])[1:-1]}`"
