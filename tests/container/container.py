"""One running container of the image under test, as Cloud Run runs it, and what it does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.container.network import Network
from tests.container.running import Running, podman

READY_SECONDS = 120
# Read-only, no rights, two processors, 2 GiB: what deploy/cloudrun/service.yaml asks for, and less.
STRICT = (
    *("--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp:rw,size=64m,mode=1777"),
    *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
    *("--cpus", "2", "--memory", "2g", "--memory-swap", "2g"),
)


@dataclass(frozen=True)
class End:
    """How a stream ended: its last event, and when (seconds on the monotonic clock)."""

    tokens: int
    finish: str | None
    error: str | None
    at: float


class Container(Running):
    """A container, from `podman run` on."""

    def __init__(
        self,
        image: str,
        *options: str,
        port: int = 8080,
        strict: bool = True,
        name: str = "",
        publish: bool = False,
        arguments: Sequence[str] = (),
        **settings: str,
    ) -> None:
        self.network = Network()
        self.port = port
        self.address = self.network.address
        self.url = f"http://{'127.0.0.1' if publish else self.address}:{port}"
        self.name = name or f"gpt2-test-{uuid.uuid4().hex[:8]}"
        command = ["podman", "--runtime", "runc", "run", "--name", self.name]
        command += ["--no-healthcheck", *(STRICT if strict else ())]
        # Published, it gets podman's own network, as Docker gives it one.
        command += ["-p", f"{port}:{port}"] if publish else ["--network", self.network.path]
        command += ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096", *options]
        for name, value in settings.items():  # {outside} is this machine, as seen from inside
            value = value.replace("{outside}", self.network.outside)
            command += ["--env", f"{name}={value}"]
        if port != 8080 and "AIP_HTTP_PORT" not in settings:
            command += ["--env", f"PORT={port}"]
        self.log: list[str] = []
        self.began = since_boot()
        self._run = subprocess.Popen(
            [*command, image, *arguments],
            cwd=tempfile.gettempdir(),  # conmon leaves a file where memory ran out
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    # Its life

    def wait_ready(self, seconds: float = READY_SECONDS) -> float:
        """Wait for `/health/ready`; return the seconds since `podman run`."""
        while since_boot() - self.began < seconds:
            with contextlib.suppress(requests.RequestException):
                if self.get("/health/ready", timeout=2).status_code == 200:
                    return since_boot() - self.began
            if self._run.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError("\n".join(["the container did not get ready", *self.log[-20:]]))

    def wait_live(self, seconds: float = READY_SECONDS) -> None:
        """Wait until it listens, and Java runs."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.is_running:
            with contextlib.suppress(requests.RequestException, AssertionError):
                if self.get("/health/live", timeout=2).status_code == 200 and self.torchserve:
                    return
            time.sleep(0.05)
        raise AssertionError("\n".join(["the container does not listen", *self.log[-20:]]))

    def wait_end(self, seconds: float = 30) -> int:
        """Wait until it ends; return its status."""
        return self._run.wait(seconds)

    @property
    def is_running(self) -> bool:
        return self._run.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Signal the container, as the platform does."""
        podman("kill", "--signal", number.name, self.name)

    def remove(self) -> None:
        """End it, and take away all that belonged to it."""
        podman("rm", "--force", "--time", "0", self.name, check=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._run.wait(20)
        self._reader.join(5)
        if self._run.stdout is not None:
            self._run.stdout.close()
        self.network.close()

    def _read(self) -> None:
        assert self._run.stdout is not None
        for line in self._run.stdout:
            self.log.append(line.rstrip("\n"))


class Posts:
    """Plain requests, each in a thread of its own: `statuses` says how they ended, 0 a cut one."""

    def __init__(self, container: Running, count: int, **options: Any) -> None:
        self.statuses: list[int] = []
        self.at: list[float] = []
        self._threads = [
            threading.Thread(target=self._post, args=(container, {"seed": n} | options))
            for n in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, seconds: float = 60) -> Counter[int]:
        """Wait until every one has its reply, or the end of its connection."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert len(self.statuses) == len(self._threads), "a plain request still waits"
        return Counter(self.statuses)

    def _post(self, container: Running, options: dict[str, Any]) -> None:
        status = 0
        with contextlib.suppress(requests.RequestException):
            status = container.complete(ignore_eos=True, **options).status_code
        self.statuses.append(status)
        self.at.append(time.monotonic())


class Clients:
    """Several clients at once, each with a stream in a thread of its own."""

    def __init__(self, container: Running, count: int, **options: Any) -> None:
        self.ends: list[End] = []
        self._begun = threading.Semaphore(0)
        self._threads = [
            threading.Thread(target=self._read, args=(container, {"seed": n} | options))
            for n in range(count)
        ]
        for thread in self._threads:
            thread.start()
        for _ in self._threads:
            assert self._begun.acquire(timeout=60), "a stream did not begin"

    def wait(self, seconds: float = 60) -> list[End]:
        """Wait until every client has its end."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert len(self.ends) == len(self._threads), "a client still waits"
        return self.ends

    def _read(self, container: Running, options: dict[str, Any]) -> None:
        tokens, finish, error = 0, None, None
        for event in container.stream(**options):
            if event == "[DONE]":
                continue
            if "error" in event:
                error = event["error"]["code"]
            for choice in event.get("choices", ()):
                tokens += 1
                finish = choice["finish_reason"] or finish
                if tokens == 1:
                    self._begun.release()
        if tokens == 0:
            self._begun.release()
        self.ends.append(End(tokens, finish, error, time.monotonic()))


def since_boot() -> float:
    """Seconds since the machine was started: the clock of /proc."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def mapped_files(pid: int) -> set[str]:
    """Files that a process has mapped into its memory, by their names inside the container."""
    lines = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if len(line.split(maxsplit=5)) == 6}


def own_cpus() -> int:
    """Processors of this machine that a container may be given."""
    return len(os.sched_getaffinity(0))
