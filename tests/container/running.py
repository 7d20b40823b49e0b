"""A running container of the image under test: what is in it, and what clients do with it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests


def podman(*words: str, check: bool = True) -> str:
    """Run podman and return what it printed."""
    done = subprocess.run(["podman", *words], capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"podman {' '.join(words[:3])}: {done.stderr.strip()}")
    return done.stdout.strip()


@dataclass(frozen=True)
class Mount:
    """A file system: what kind, and how it is mounted (ro, rw and others)."""

    kind: str
    options: list[str]


class Running:
    """One that was started, by whatever: `address` is its own, `url` where clients ask it."""

    name: str
    address: str
    port: int
    url: str

    # What is in it

    @property
    def pid(self) -> int:
        """The first process's id on this machine."""
        return int(podman("inspect", "--format", "{{.State.Pid}}", self.name))

    def process(self, word: str) -> psutil.Process:
        """The process with this word in its command line."""
        for child in psutil.Process(self.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any(word in part for part in child.cmdline()):
                    return child
        raise AssertionError(f"no process has {word} in its command line")

    @property
    def worker(self) -> psutil.Process:
        """TorchServe's Python worker."""
        return self.process("model_service_worker")

    @property
    def torchserve(self) -> psutil.Process:
        """Java."""
        return self.process("org.pytorch.serve.ModelServer")

    def path(self, inside: str) -> Path:
        """A path inside, as this machine reaches it."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def mounts(self) -> dict[str, Mount]:
        """What is mounted inside, by its place."""
        lines = Path(f"/proc/{self.pid}/mounts").read_text(encoding="utf-8").splitlines()
        words = map(str.split, lines)
        return {place: Mount(kind, said.split(",")) for _, place, kind, said, *_ in words}

    def figure(self, name: str) -> int:
        """One of its metrics, which has one series."""
        for line in self.get("/metrics").text.splitlines():
            if line.startswith((f"{name} ", f"{name}{{")):
                return int(float(line.rpartition(" ")[2]))
        raise AssertionError(f"no metric {name}")

    def wait_figure(self, name: str, least: int, seconds: float = 120) -> None:
        """Wait until a metric is at least that."""
        deadline = time.monotonic() + seconds
        while self.figure(name) < least:
            assert time.monotonic() < deadline, f"{name} is {self.figure(name)}, not {least}"
            time.sleep(0.05)

    def execute(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        command = ["podman", "--runtime", "runc", "exec", self.name, *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def memory_peak(self) -> int:
        """The most bytes that its control group ever held."""
        root = Path("/sys/fs/cgroup")
        lines = Path(f"/proc/{self.pid}/cgroup").read_text(encoding="ascii").splitlines()
        for line in lines:
            _, kinds, path = line.split(":", 2)
            if kinds == "memory":
                return int((root / f"memory{path}/memory.max_usage_in_bytes").read_text())
            if not kinds and (root / f".{path}/memory.peak").exists():
                return int((root / f".{path}/memory.peak").read_text())
        raise AssertionError("no control group counts memory")

    # What clients do

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, **{"timeout": 60, **options})

    def complete(self, prompt: str = "Once upon a time", **options: Any) -> requests.Response:
        """A whole reply."""
        headers = options.pop("headers", None)
        body = {"prompt": prompt, "max_tokens": 8} | options
        return requests.post(self.url + "/v1/completions", json=body, headers=headers, timeout=60)

    def stream(self, prompt: str = "Once upon a time", **options: Any) -> Iterator[Any]:
        """The events of a stream; `[DONE]` as a text. Ends early if the connection does."""
        body = {"prompt": prompt, "stream": True, "ignore_eos": True} | options
        with (
            contextlib.suppress(requests.RequestException),
            requests.post(
                self.url + "/v1/completions", json=body, stream=True, timeout=60
            ) as reply,
        ):
            if reply.status_code != 200:
                yield reply.json()
                return
            for line in reply.iter_lines():
                if line.startswith(b"data: "):
                    data = line[6:].decode()
                    yield data if data == "[DONE]" else json.loads(data)
