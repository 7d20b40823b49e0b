"""Runs a batch: many lines at once, their answers in the order of the lines, in bounded memory."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gpt2_client.batch import lines
from gpt2_client.batch.asker import Asker
from gpt2_client.batch.files import MAX_LINE_BYTES, Source, Target
from gpt2_client.batch.lines import LineError, Request

# Lines read ahead of the first one that is not answered: so many for each that may be out at once,
# and no more than this in bytes (but always one).
AHEAD = 4
AHEAD_BYTES = 64 * 2**20


@dataclass
class Progress:
    """How far a batch is."""

    requests: int
    done: int = 0
    failed: int = 0

    def count(self, line: bytes) -> None:
        """Count an answered line."""
        self.done += 1
        self.failed += lines.is_failure(line)


class _Slot:
    """A line that is out, and where its answer comes."""

    def __init__(self, number: int, data: bytes | None) -> None:
        self.number = number
        self.data = data
        self.size = len(data or b"")
        self.is_done = threading.Event()
        self.answer = b""
        self.failure: BaseException | None = None


class Batch:
    """One run over a source. Threads are daemons: Ctrl-C waits for nobody's answer."""

    def __init__(self, source: Source, asker: Asker, created: int, parallel: int) -> None:
        self._source = source
        self._asker = asker
        self._created = created
        self._most = AHEAD * parallel
        self._jobs: queue.Queue[_Slot | None] = queue.Queue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(parallel)]

    def run(self, target: Target, progress: Progress, show: Callable[[], None]) -> None:
        """Answer what is not answered yet; `show` is called whenever something has changed.

        Raises:
            ClientError: The service was away for too long; what is written stays.
        """
        for thread in self._threads[: progress.requests - progress.done]:
            thread.start()
        try:
            for line in self._answers(progress.done, show):
                target.append(line)
                progress.count(line)
                show()
        finally:
            for _ in self._threads:
                self._jobs.put(None)

    def _answers(self, first: int, show: Callable[[], None]) -> Iterator[bytes]:
        pending: deque[_Slot] = deque()
        held = 0
        for number, data in self._source.lines(first):
            slot = _Slot(number, data)
            while pending and (
                pending[0].is_done.is_set()
                or len(pending) >= self._most
                or held + slot.size > AHEAD_BYTES
            ):
                held -= pending[0].size
                yield _taken(pending.popleft(), show)
            pending.append(slot)
            held += slot.size
            self._jobs.put(slot)
        while pending:
            yield _taken(pending.popleft(), show)

    def _work(self) -> None:
        while (slot := self._jobs.get()) is not None:
            try:
                slot.answer = self._answer(slot)
            except BaseException as error:
                slot.failure = error
            slot.data = None
            slot.is_done.set()

    def _answer(self, slot: _Slot) -> bytes:
        labels, request = lines.read(slot.data or b"{}", slot.number, self._source.digest)
        if slot.data is None:
            said = f"line {slot.number} is longer than {MAX_LINE_BYTES} bytes"
            request = LineError("invalid_json_line", said)
        if isinstance(request, Request):
            return self._asker.answer(labels, request, self._created)
        return lines.failed(labels, request)


def _taken(slot: _Slot, show: Callable[[], None]) -> bytes:
    while not slot.is_done.wait(0.2):
        show()
    if slot.failure is not None:
        raise slot.failure
    return slot.answer
