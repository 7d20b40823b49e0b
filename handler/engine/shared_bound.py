"""One bound for the keys and values of all workers of a service: each has a line in one file.

A line says what its worker has taken or promised, and what it lacks. Who lacks memory waits, as it
would for a sequence of its own; the others forget what they only keep, and take no more than an
equal share meanwhile.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from handler.engine.errors import ModelError

# Where that file is, and how many bytes all may take together.
FILE_VARIABLE, BYTES_VARIABLE = "GPT2_CACHES", "CACHES_MEMORY_BYTES"
LINE = struct.Struct("=qqq")  # process id, bytes taken, bytes that it lacks
MOST_LINES = 512
# A worker looks so often whether another lacks memory.
LOOK_SECONDS = 0.05


class SharedBound:
    """A worker's own line, and what the others' say.

    Raises:
        ModelError: Not one sequence of the whole context fits.
    """

    def __init__(self, file: Path, most: int, bytes_per_token: int, longest: int) -> None:
        """Take a line in `file`, which is made if it is not there.

        Args:
            file: The file.
            most: Bytes that all may take together.
            bytes_per_token: Of one position of this worker's model.
            longest: Positions of its longest sequence.
        """
        if most < longest * bytes_per_token:
            needed = -(-longest * bytes_per_token >> 20)
            raise ModelError(
                f"one sequence of {longest} tokens needs {needed} MiB of keys and values, and "
                f"{BYTES_VARIABLE} is {most} ({most >> 20} MiB): raise it"
            )
        self._most = most
        self._bytes_per_token = bytes_per_token
        self._longest = longest * bytes_per_token
        self._file = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
        with self.held():
            os.ftruncate(self._file, MOST_LINES * LINE.size)
            self._lines = mmap.mmap(self._file, MOST_LINES * LINE.size)
            self._place = self._free_line()
            LINE.pack_into(self._lines, self._place, os.getpid(), 0, 0)

    @classmethod
    def of_service(cls, bytes_per_token: int, longest: int) -> SharedBound | None:
        """Return the bound that this worker's environment names, if it does.

        Raises:
            ModelError: As the class.
        """
        file, most = os.environ.get(FILE_VARIABLE), os.environ.get(BYTES_VARIABLE)
        return cls(Path(file), int(most), bytes_per_token, longest) if file and most else None

    @property
    def max_tokens(self) -> int:
        """Positions of this model's that all of it would hold."""
        return self._most // self._bytes_per_token

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no other worker change what it has taken meanwhile."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def tokens(self) -> int:
        """Positions that this worker may have taken in all; to be asked where it is `held`."""
        others = [line for line in self._others() if _is_alive(line[0])]
        left = self._most - sum(taken for _, taken, _ in others)
        if any(lacks for _, _, lacks in others):
            left = min(left, max(self._most // (len(others) + 1), self._longest))
        return left // self._bytes_per_token

    def tell(self, taken: int, lacks: int = 0) -> None:
        """Say what this worker has taken, and what it lacks, in positions."""
        size = self._bytes_per_token
        LINE.pack_into(self._lines, self._place, os.getpid(), taken * size, lacks * size)

    def missing(self, own: int) -> int:
        """Positions that others lack beyond what is left, where this worker has taken `own`."""
        others = list(self._others())
        lacking = sum(lacks for _, _, lacks in others)
        if not lacking:
            return 0
        left = self._most - sum(taken for _, taken, _ in others) - own * self._bytes_per_token
        return -(-max(0, lacking - left) // self._bytes_per_token)

    def _others(self) -> Iterator[tuple[int, int, int]]:
        for place in range(0, len(self._lines), LINE.size):
            line = LINE.unpack_from(self._lines, place)
            if not line[0]:  # nobody ever had it, nor those behind it
                return
            if place != self._place:
                yield line

    def _free_line(self) -> int:
        for place in range(0, len(self._lines), LINE.size):
            process = LINE.unpack_from(self._lines, place)[0]
            if not process or not _is_alive(process):
                return place
        raise ModelError(f"more than {MOST_LINES} workers share {BYTES_VARIABLE}")


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
