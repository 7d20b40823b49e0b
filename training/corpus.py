"""Splits documents into training and held-out chunks.

Knows nothing of tokens: the split depends on the text alone, so that models with different
vocabularies can be compared in bits per character.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from training.errors import TrainingError
from training.reading.document import Documents

CHUNK_CHARACTERS = 20_000
HELD_OUT_EVERY = 20
# Of a text that is shorter than this, a greater part: it is little enough to measure on.
SHORT_CHARACTERS = 200_000
HELD_OUT_EVERY_OF_SHORT = 10
_BLANK_LINES = re.compile(r"\n[ \t]*\n\s*")
# Where a text may be cut, the better cuts first; after the last of them, anywhere.
_CUTS = (
    re.compile(r"\n\n"),
    re.compile(r"\n"),
    re.compile(r"[.!?\u2026][\"'\u201d\u2019)\]]*(\s+)|[\u3002\uff01\uff1f]()"),
    re.compile(r"\s+"),
)

Span = tuple[int, int]


@dataclass(frozen=True)
class Corpus:
    """Chunks of text of about a chapter's length, in file order, some of them held out.

    A chunk lies in one document. Chunks that follow one another are one in ``train``, up to
    ``CHUNK_CHARACTERS``: the finer cuts that a short text needs for holding out are none there.
    """

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    files: tuple[str, ...]
    chunk_characters: int
    held_out_every: int

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
        """SHA-256 over all chunks: equal if two runs saw the same text."""
        digest = hashlib.sha256()
        for chunk in (*self.train, "\0", *self.held_out):
            digest.update(chunk.encode())
            digest.update(b"\0")
        return digest.hexdigest()


def split(documents: Documents) -> Corpus:
    """Cut documents into chunks and hold out every twentieth, of a short text every tenth.

    Raises:
        TrainingError: there are too few characters to cut so many chunks.
    """
    bodies = ["\n\n".join(_BLANK_LINES.split(d.text)) for d in documents.documents]
    total = sum(map(len, bodies))
    every = HELD_OUT_EVERY if total >= SHORT_CHARACTERS else HELD_OUT_EVERY_OF_SHORT
    size = CHUNK_CHARACTERS
    if len(bodies) < 2 * every:
        # A short text is cut finer, so that something can be held out of it as well.
        size = max(1, min(size, total // (2 * every)))
    spans = [(number, span) for number, body in enumerate(bodies) for span in chunks(body, size)]
    if len(spans) < every:
        raise TrainingError(f"too little text: {total:,} characters")
    held_out = spans[every - 1 :: every]
    return Corpus(
        tuple(bodies[number][start:end] for number, (start, end) in _runs(spans, every)),
        tuple(bodies[number][start:end] for number, (start, end) in held_out),
        documents.files,
        size,
        every,
    )


def chunks(text: str, size: int) -> list[Span]:
    """Gather parts of a text until a chunk exceeds ``size`` characters; the last may be shorter.

    Parts are paragraphs; one that is longer than ``size`` is cut into lines, a line into
    sentences, these at blanks, and what has none anywhere.
    """
    found: list[Span] = []
    start = end = 0
    for part_start, part_end in _parts(text, (0, len(text)), size, 0):
        if end == 0:
            start = part_start
        end = part_end
        if _is_full(start, end, size):
            found.append((start, end))
            end = 0
    if end:
        found.append((start, end))
    return found


def _parts(text: str, whole: Span, size: int, cut: int) -> Iterator[Span]:
    """The parts of ``whole``, none much longer than ``size``, cut where it is best."""
    start, end = whole
    if cut == len(_CUTS):
        yield from ((k, min(k + size, end)) for k in range(start, end, size))
        return
    found = _CUTS[cut].finditer(text, start, end)
    for stop, following in [*(match.span(match.lastindex or 0) for match in found), (end, end)]:
        if stop - start > size:
            yield from _parts(text, (start, stop), size, cut + 1)
        elif stop > start:
            yield start, stop
        start = following


def _is_full(start: int, end: int, size: int) -> bool:
    return end - start + len("\n\n") > size


def _runs(spans: Sequence[tuple[int, Span]], every: int) -> list[tuple[int, Span]]:
    """Training chunks, those that follow one another in a document put together."""
    runs: list[tuple[int, Span]] = []
    together = False
    for k, (number, (start, end)) in enumerate(spans):
        if k % every == every - 1:
            together = False
            continue
        if together and runs[-1][0] == number:
            first = runs[-1][1][0]
            if not _is_full(*runs[-1][1], CHUNK_CHARACTERS):
                runs[-1] = number, (first, end)
                continue
        runs.append((number, (start, end)))
        together = True
    return runs
