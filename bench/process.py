"""A driver process: started, asked, frozen while others are measured, ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.checkpoints import CACHE, ROOT

# Ours asks for pages of 2 MB for its weights; by this glibc does so for the peers.
HUGE_PAGES = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4194304"
    ":glibc.malloc.top_pad=16777216:glibc.malloc.trim_threshold=33554432"
)


class DriverError(RuntimeError):
    """A system could not do what was asked; says which, and why."""


class DriverProcess:
    """One system's driver. Frozen (SIGSTOP) except while it is asked something.

    Args:
        system: Its name.
        python: The interpreter it runs on.
        module: The driver's module.
        options: What the driver is started with.
        server: Processes that answer it, and are frozen and thawed with it.
        root: The checkout whose module it is.
        variables: What its environment holds besides.
    """

    def __init__(
        self,
        system: str,
        python: Path | str,
        module: str,
        options: object,
        server: Callable[[], Sequence[int]] = tuple,
        root: Path = ROOT,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.system = system
        self._server = server
        CACHE.mkdir(parents=True, exist_ok=True)
        slug = "".join(c if c.isalnum() else "-" for c in f"{module}-{system}")
        self._log = CACHE / f"{slug}.log"
        began = time.monotonic()
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [str(python), "-m", module, json.dumps(options)],
                cwd=root,
                env={"GLIBC_TUNABLES": HUGE_PAGES}
                | os.environ
                | {"PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"}
                | dict(variables or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        try:
            self._read()
            self.start_seconds = time.monotonic() - began
        except BaseException:
            self.close()
            raise
        self._freeze()

    def __enter__(self) -> DriverProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it; what answers it is left awake."""
        self._thaw()
        self._signal(signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                # What was still to be written has no reader any more.
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def generate(self, prompts: list[list[int]], new_tokens: list[int]) -> dict[str, Any]:
        """See `bench.drivers.loop.Driver.generate`."""
        return self._ask({"op": "generate", "prompts": prompts, "new_tokens": new_tokens})

    def perplexity(self, windows: list[list[int]]) -> dict[str, Any]:
        """Return summed negative log likelihood `nll` in nats over so many `tokens`."""
        return self._ask({"op": "nll", "windows": windows})

    def resident_mb(self) -> float:
        """Memory of the driver and its children, in MB."""
        return sum(resident_mb(pid) for pid in (self._process.pid, *descendants(self._process.pid)))

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._process.stdin is None:
            raise DriverError(f"{self.system}: has no input")
        with self._awake():
            try:
                self._process.stdin.write(json.dumps(request) + "\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                raise self._gone() from None
            return self._read()

    @contextlib.contextmanager
    def _awake(self) -> Iterator[None]:
        self._thaw()
        try:
            yield
        finally:
            self._freeze()

    def _freeze(self) -> None:
        self._signal(signal.SIGSTOP)
        _signal_each(self._server(), signal.SIGSTOP)

    def _thaw(self) -> None:
        _signal_each(self._server(), signal.SIGCONT)
        self._signal(signal.SIGCONT)

    def _read(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise self._gone()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise DriverError(f"{self.system}: {answer['error']}")
        return answer

    def _gone(self) -> DriverError:
        code = self._process.wait()
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line]
        return DriverError(f"{self.system} ended ({code}): " + " | ".join(lines[-2:]))

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def _signal_each(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def resident_mb(pid: int) -> float:
    """Resident memory of one process in MB; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def descendants(pid: int) -> list[int]:
    """All processes below this one."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found
