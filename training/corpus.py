"""Reads text files and splits them into training and held-out pieces.

Knows nothing of tokens: the split depends on the text alone, so that models with different
vocabularies can be compared in bits per character.
"""

import hashlib
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass
from pathlib import Path

from training.errors import TrainingError

PIECE_CHARACTERS = 20_000
HELD_OUT_EVERY = 20
BYTE_ORDER_MARK = "\ufeff"
_BLANK_LINES = re.compile(r"\n[ \t]*\n\s*")


@dataclass(frozen=True)
class Corpus:
    """Pieces of text of about a chapter's length, in file order, every twentieth held out."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    files: tuple[str, ...]
    piece_characters: int

    @property
    def train_characters(self) -> int:
        """Characters to learn from."""
        return sum(map(len, self.train))

    @property
    def held_out_characters(self) -> int:
        """Characters kept back for measuring."""
        return sum(map(len, self.held_out))

    @property
    def digest(self) -> str:
        """SHA-256 over all pieces: tells whether two runs saw the same text."""
        digest = hashlib.sha256()
        for piece in (*self.train, "\0", *self.held_out):
            digest.update(piece.encode())
            digest.update(b"\0")
        return digest.hexdigest()


def read_corpus(source: Path, min_characters: int) -> Corpus:
    """Read one text file, or all ``*.txt`` of a directory in name order, and split them.

    Raises:
        TrainingError: nothing to read, not UTF-8, or fewer than ``min_characters`` characters.
    """
    files = _text_files(source)
    texts = [_read_text(file) for file in files]
    total = sum(map(len, texts))
    if total < min_characters:
        raise TrainingError(
            f"too little text: {total:,} characters in {len(files)} file(s) of {source}; "
            f"at least {min_characters:,} are needed (--min-characters)"
        )
    # A short text is cut finer, so that something can be held out of it as well.
    size = min(PIECE_CHARACTERS, total // (2 * HELD_OUT_EVERY))
    pieces = [piece for text in texts for piece in split_into_pieces(text, size)]
    train = tuple(p for k, p in enumerate(pieces) if k % HELD_OUT_EVERY != HELD_OUT_EVERY - 1)
    held_out = tuple(p for k, p in enumerate(pieces) if k % HELD_OUT_EVERY == HELD_OUT_EVERY - 1)
    if not held_out:
        raise TrainingError(
            f"{source} has only {len(pieces)} paragraph(s) to split at, so nothing can be held "
            f"out; at least {HELD_OUT_EVERY} paragraphs with a blank line between are needed"
        )
    return Corpus(train, held_out, tuple(file.name for file in files), size)


def split_into_pieces(text: str, size: int) -> list[str]:
    """Gather paragraphs until a piece exceeds ``size`` characters; the last may be shorter."""
    pieces: list[str] = []
    gathered: list[str] = []
    length = 0
    for paragraph in _BLANK_LINES.split(text.strip()):
        gathered.append(paragraph)
        length += len(paragraph) + 2
        if length > size:
            pieces.append("\n\n".join(gathered))
            gathered, length = [], 0
    if any(gathered):
        pieces.append("\n\n".join(gathered))
    return pieces


def _text_files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise TrainingError(f"no text: {source} is neither a file nor a directory")
    files = sorted(source.glob("*.txt"))
    if not files:
        raise TrainingError(f"no text: {source} holds no *.txt file")
    return files


def _read_text(file: Path) -> str:
    raw = file.read_bytes()
    try:
        text = raw.decode("utf-8").removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        encoding = "utf-16" if raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "latin1"
        raise TrainingError(
            f"{file.name} is not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start:,}; "
            f"convert it first, for example with iconv -f {encoding} -t utf-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
