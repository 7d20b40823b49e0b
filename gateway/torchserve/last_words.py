"""The last log lines of TorchServe and its workers before they failed.

TorchServe logs on standard error what a worker says there. That log goes on to ours; what Java
itself says on standard output is kept alone.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import threading
from collections import deque
from typing import IO

KEPT = 3
LONGEST = 400
# What TorchServe says when a worker did not come up: mostly the first, and the second after it.
FAILED = re.compile(r"Load model failed: |Backend worker error")
TRIED_AGAIN = re.compile(r"Auto recovery failed again")
# What says nothing of a cause: what always comes, and where in the code it was.
NOISE = re.compile(
    r"Auto recovery|Model archive (version|createdOn)|(NOTE: )?Picked up |Model server started"
    r'|\s+(at |\.\.\. )|\s+File "|\s*<|(Current thread|Thread) 0x|Extension modules|\[PID]'
    r"|RuntimeError: 500 - "
)
# Level and sender, as config/log4j2.xml has them.
HEAD = re.compile(r"torchserve [A-Z]+ ?")
SILENT = "its worker ended without saying why"
# What to do next, by what was said.
HINTS = {
    r"No space left|[Dd]isk quota": "set TMPDIR to a folder with more room",
    rf"Cannot allocate memory|OutOfMemory|MemoryError|{SILENT}": "is there enough memory?",
}


class LastWords:
    """Listens to one TorchServe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._words: deque[str] = deque(maxlen=KEPT)
        self._failures: list[str] = []
        self._last_failure = ""
        self._readers: list[threading.Thread] = []

    def listen_to(self, process: subprocess.Popen[bytes]) -> None:
        """Read both streams until they end."""
        for stream, is_log in ((process.stdout, False), (process.stderr, True)):
            assert stream is not None
            reader = threading.Thread(target=self._read, args=(stream, is_log), daemon=True)
            reader.start()
            self._readers.append(reader)

    def wait_for_end(self, seconds: float = 1.0) -> None:
        """Give what was said last the time to get here."""
        for reader in self._readers:
            reader.join(seconds)

    def take_failures(self) -> list[str]:
        """Return what was said at each failure of a worker since this was asked before."""
        with self._lock:
            failures, self._failures = self._failures, []
        return failures

    def explain(self, what: str) -> str:
        """Return `what` went wrong, with the words that came before it."""
        with self._lock:
            words = "; ".join(self._words) or self._last_failure
        return f"{what}: {words}{_hint(words)}" if words else what

    def _read(self, stream: IO[bytes], is_log: bool) -> None:
        with stream:
            for raw in stream:
                line = raw.decode("utf-8", "replace")
                if is_log:
                    with contextlib.suppress(OSError, ValueError):  # nobody reads ours any more
                        sys.stderr.write(line)
                        sys.stderr.flush()
                self._note(_message(line))

    def _note(self, words: str) -> None:
        with self._lock:
            if FAILED.match(words) or (self._words and TRIED_AGAIN.match(words)):
                self._last_failure = "; ".join(self._words) or SILENT
                self._failures.append(self._last_failure + _hint(self._last_failure))
                self._words.clear()
            elif words and not NOISE.match(words):
                self._words.append(words[:LONGEST])


def _hint(words: str) -> str:
    found = [hint for said, hint in HINTS.items() if re.search(said, words)]
    return f" ({found[0]})" if found else ""


def _message(line: str) -> str:
    """A line of the log without its layout, text or JSON."""
    line = line.rstrip()
    if line.startswith("{"):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            return str(json.loads(line)["message"]).rstrip()
    return HEAD.sub("", line, count=1)
