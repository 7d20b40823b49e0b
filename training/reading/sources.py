"""From what ``--text`` names to bytes: files, folders, patterns, pipes, standard input."""

import glob
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from training.errors import TrainingError
from training.reading.document import Say
from training.reading.unpack import is_hidden, is_text_name

STANDARD_INPUT = "-"
# Beside the books of a folder: who wrote them, for the card (training/card.py).
TABLE_OF_SOURCES = "SOURCES.tsv"
_SHOWN = 3


@dataclass(frozen=True)
class Source:
    """Something to read; ``name`` is what people and the card call it."""

    name: str
    path: Path | None  # None: standard input

    def read(self) -> bytes:
        """All of it, however it is connected."""
        try:
            return self._read()
        except OSError as error:
            raise TrainingError(f"no text: {self.name} cannot be read: {error.strerror}") from error

    def _read(self) -> bytes:
        if self.path is not None:
            return self.path.read_bytes()
        if sys.stdin is None or sys.stdin.closed:
            raise TrainingError("--text -: standard input is closed")
        if sys.stdin.isatty():
            print("reading the text from the keyboard; Ctrl-D ends it", file=sys.stderr)
        return sys.stdin.buffer.read()


def find_sources(named: Sequence[str], say: Say) -> list[Source]:
    """Everything to read, each file once: in the order named, within a folder in name order.

    Raises:
        TrainingError: one of them is not there, or is nothing that can be read.
    """
    found: list[Source] = []
    seen: set[Path] = set()
    for source in (source for name in named for source in _sources(name, say)):
        if source.path is not None and source.path.is_file():
            whole = source.path.resolve()
            if whole in seen:
                say(f"{source.name} is named twice and read once")
                continue
            seen.add(whole)
        found.append(source)
    return found


def _sources(name: str, say: Say) -> Iterator[Source]:
    if name == STANDARD_INPUT:
        yield Source("standard input", None)
        return
    path = Path(name)
    if path.is_dir():
        yield from _folder(path, say)
    elif path.is_symlink() and not path.exists():
        raise TrainingError(f"no text: {name} is a link to {path.readlink()}, which does not exist")
    elif path.exists():
        yield Source(_short(path), _readable(path))
    elif glob.has_magic(name):
        matches = sorted(glob.glob(name, recursive=True))
        if not matches:
            raise TrainingError(f"no text: no file matches {name}")
        for match in matches:
            # A folder that matches beside its files ("**") would be read twice.
            if not Path(match).is_dir():
                yield from _sources(match, say)
    else:
        raise TrainingError(f"no text: {name} is neither a file nor a folder")


def _folder(folder: Path, say: Say) -> Iterator[Source]:
    taken, hidden, others = [], [], []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            continue
        if is_hidden(name):
            hidden.append(name)
        elif is_text_name(name) and path.name != TABLE_OF_SOURCES:
            if not path.exists():
                raise TrainingError(
                    f"no text: {path} is a link to {path.readlink()}, which does not exist"
                )
            taken.append(Source(name, _readable(path)))
        elif path.name != TABLE_OF_SOURCES:
            others.append(name)
    if hidden:
        say(f"{folder}: {_some(hidden, 'hidden file')} left out")
    if others:
        say(f"{folder}: {_some(others, 'file')} left out, not text by name (name it to read it)")
    if not taken:
        raise TrainingError(
            f"no text: {folder} holds no *.txt file, nor *.jsonl, *.csv, *.tsv or *.parquet; "
            "name files or a pattern, as 'DIR/**/*.md'"
        )
    yield from taken


def _readable(path: Path) -> Path:
    if path.is_socket() or path.is_block_device():
        raise TrainingError(f"no text: {path} is a socket or a disk")
    return path


def _short(path: Path) -> str:
    return "a pipe" if path.is_fifo() else path.name


def _some(names: list[str], noun: str) -> str:
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"{len(names):,} {noun}{'s' if len(names) > 1 else ''} ({shown})"
