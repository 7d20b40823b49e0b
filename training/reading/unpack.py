"""Packed files to what is in them: gzip, zstd, bzip2, xz by content, and the members of a zip."""

import bz2
import gzip
import io
import lzma
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath

from training.errors import TrainingError
from training.reading.document import Say

PLAIN_SUFFIXES = (".txt", ".text")
RECORD_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
PACKED_SUFFIXES = (".gz", ".zst", ".bz2", ".xz")
# A packed file within a packed one within another: nobody has more, an endless one would.
_DEPTH = 3


def is_hidden(name: str) -> bool:
    """Whether people do not see it: ``.name``, what a Mac leaves beside files and in a zip."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def is_text_name(name: str) -> bool:
    """Whether a file found in a folder is text by its name, packed or not."""
    path = PurePosixPath(name.lower())
    if path.suffix == ".zip":
        return True
    suffix = path.with_suffix("").suffix if path.suffix in PACKED_SUFFIXES else path.suffix
    return suffix in PLAIN_SUFFIXES + RECORD_SUFFIXES


def unpack(name: str, data: bytes, say: Say, depth: int = 0) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of what is in ``data``: itself, where it is not packed.

    Raises:
        TrainingError: it is packed and damaged, encrypted, or a library for it is missing.
    """
    if depth > _DEPTH:
        raise TrainingError(f"{name} is packed more than {_DEPTH} times")
    try:
        if data.startswith(b"PK\x03\x04") and not _is_document(data):
            for member, content in _members(name, data, say):
                yield from unpack(member, content, say, depth + 1)
            return
        unpacked = _decompress(data)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{name} is damaged: {error}") from error
    except NotImplementedError as error:
        raise TrainingError(f"{name} is packed in an unknown way") from error
    except RuntimeError as error:  # zipfile's word for a password
        raise TrainingError(f"{name} is encrypted") from error
    if unpacked is None:
        yield name, data
    else:
        yield from unpack(_without_suffix(name), unpacked, say, depth + 1)


def _decompress(data: bytes) -> bytes | None:
    """What is packed in ``data``; None where it is not packed."""
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data)
    if data.startswith(b"BZh") and data[4:10] == b"1AY&SY":
        return bz2.decompress(data)
    if data.startswith(b"\xfd7zXZ\x00"):
        return lzma.decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return _decompress_zstd(data)
    return None


def _decompress_zstd(data: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd

    try:
        return zstd.decompress(data)
    except zstd.ZstdError as error:
        raise OSError(str(error)) from error


def _members(name: str, data: bytes, say: Say) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        names = sorted(member for member in file.namelist() if not member.endswith("/"))
        taken = [member for member in names if is_text_name(member) and not is_hidden(member)]
        if not taken:
            raise TrainingError(f"no text: {name} holds no *.txt, *.jsonl, *.csv, *.tsv, *.parquet")
        if len(taken) < len(names):
            say(f"{name}: {len(names) - len(taken):,} of {len(names):,} files left out: no text")
        for member in taken:
            yield f"{name}/{member}", file.read(member)


def _is_document(data: bytes) -> bool:
    """Word, OpenDocument, EPUB, Java and others are zips too; they are named for what they are."""
    from training.reading.kinds import kind_of

    return kind_of(data) is not None


def _without_suffix(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in PACKED_SUFFIXES else name
