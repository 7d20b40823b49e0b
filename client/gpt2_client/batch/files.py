"""The files of a batch: input, output, and how an interrupted run is resumed.

Beside OUT lie OUT.partial, with the lines that are answered, in order, and OUT.state, which says
what they belong to. OUT appears when all are there, and both go.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:  # Windows: two runs at once are not noticed there
    fcntl = None  # type: ignore[assignment]

# A longer line is not read but answered with an error: it would have to fit into memory.
MAX_LINE_BYTES = 32 * 2**20
BLOCK_BYTES = 2**20


class FileProblem(Exception):
    """A file that cannot be used; one line that says what to do."""


@dataclass(frozen=True)
class Source:
    """A file of requests, read through once: how many there are, and the digest of all."""

    path: Path
    digest: str
    requests: int

    @classmethod
    def open(cls, path: Path) -> Source:
        """Read a file through.

        Raises:
            FileProblem: It cannot be read, twice at that.
        """
        digest, requests = hashlib.sha256(), 0
        try:
            if not path.is_file():
                reason = "is not a file" if path.exists() else "does not exist"
                raise FileProblem(f"{path} {reason}; a batch is read from a file, more than once")
            with path.open("rb") as file:
                is_blank = True
                while block := file.readline(BLOCK_BYTES):
                    digest.update(block)
                    is_blank = is_blank and not block.strip()
                    if block.endswith(b"\n"):
                        requests += not is_blank
                        is_blank = True
                requests += not is_blank
        except OSError as error:
            raise FileProblem(f"cannot read {path}: {error.strerror}") from None
        return cls(path, digest.hexdigest(), requests)

    def lines(self, first: int) -> Iterator[tuple[int, bytes | None]]:
        """Yield the requests behind the first so many: number of the line, and what is in it.

        A line that is too long comes as None.
        """
        seen = 0
        with self.path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                is_long = len(line) > MAX_LINE_BYTES and not line.endswith(b"\n")
                rest = line
                while is_long and rest and not rest.endswith(b"\n"):
                    rest = file.readline(BLOCK_BYTES)
                if not line.strip():
                    continue
                seen += 1
                if seen > first:
                    yield number, None if is_long else line


class Target:
    """OUT and the files beside it, held by one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self._state = path.with_name(path.name + ".state")
        self._held = contextlib.ExitStack()
        self._file: IO[bytes] | None = None
        self._state_file: IO[bytes] | None = None
        self.created = 0
        self.is_done = False

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def begin(
        self,
        digest: str,
        models: Mapping[str, str],
        created: int,
        before: Callable[[bytes], None],
    ) -> None:
        """Take up where a run before ended, or begin; `before` gets each line that is there.

        `models` says what serves: each model's name and the digest of its weights. `created` is
        the moment that counts as the first start, if this is one.

        Raises:
            FileProblem: The files belong to something else, or cannot be written.
        """
        with _reported(self.path):
            state = self._hold()
            if self.path.exists():
                self._clear(state, digest)
                return
            if not state:
                state = {"input_sha256": digest, "created": created, "models": dict(models)}
                self.partial.unlink(missing_ok=True)
                self._write_state(state)
            self._check(state, digest, models)
            self.created = int(state["created"])
            self._file = self._take_up(before)

    def append(self, line: bytes) -> None:
        """Write an answered line; it is there when this returns, whatever ends the process."""
        assert self._file is not None
        with _reported(self.partial):
            self._file.write(line)

    def finish(self) -> None:
        """Let OUT appear, whole."""
        assert self._file is not None
        with _reported(self.path):
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self.partial, self.path)
            self._state.unlink()

    def _hold(self) -> dict[str, Any]:
        """Lock the state's file and return what is in it, nothing where it is new."""
        if self.path.exists() and not self._state.exists():
            raise FileProblem(f"{self.path} exists; name another file, or remove it first")
        file = self._held.enter_context(self._state.open("a+b"))
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise FileProblem(f"another run is writing {self.path}") from None
        file.seek(0)
        try:
            state = json.loads(file.read() or b"{}")
        except ValueError:  # ended while it was written, before anything else was
            state = {}
        self._state_file = file
        return state if isinstance(state, dict) else {}

    def _write_state(self, state: Mapping[str, Any]) -> None:
        assert self._state_file is not None
        self._state_file.truncate(0)
        self._state_file.write(json.dumps(state).encode())
        self._state_file.flush()
        os.fsync(self._state_file.fileno())

    def _clear(self, state: Mapping[str, Any], digest: str) -> None:
        """Where OUT is there beside its state, the run before ended between its last two steps."""
        if state.get("input_sha256") != digest or self.partial.exists():
            raise FileProblem(f"{self.path} exists; name another file, or remove it first")
        self._state.unlink()
        self.is_done = True

    def _check(self, state: Mapping[str, Any], digest: str, models: Mapping[str, str]) -> None:
        again = f"remove {self.partial} and {self._state} to start over"
        if state["input_sha256"] != digest:
            raise FileProblem(f"{self.partial} answers another file of requests; {again}")
        for name, weights in state["models"].items():
            if models.get(name) != weights:
                raise FileProblem(
                    f"{self.partial} was begun with another {name}; load that one, or {again}"
                )

    def _take_up(self, before: Callable[[bytes], None]) -> IO[bytes]:
        """Open what is written, cut off a half line at its end, and hand out the whole ones."""
        file = self._held.enter_context(self.partial.open("a+b", buffering=0))
        whole = 0
        with self.partial.open("rb") as written:
            for line in written:
                if line.endswith(b"\n"):
                    whole += len(line)
                    before(line)
        file.truncate(whole)
        return file


@contextlib.contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileProblem(f"cannot write {path}: {error.strerror}") from None
