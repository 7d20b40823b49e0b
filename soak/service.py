"""The real service as a process: started, looked at from outside, ended."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 180
END_SECONDS = 30
MANAGEMENT_KEY = "soak-management"


class DidNotStart(Exception):
    """The service is not there; the last lines of its log."""


class Service:
    """`python -m gateway`, and the processes behind it."""

    def __init__(self, store: Path, log: Path, settings: Mapping[str, str]) -> None:
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": os.environ.get("HOME", "/"),
            "PYTHONPATH": str(ROOT),
            "PORT": "0",
            "BIND": "127.0.0.1",
            "MODEL_STORE": str(store),
            "MANAGEMENT_KEY": MANAGEMENT_KEY,
            "LOG_FORMAT": "json",
            **settings,
        }
        self._log: IO[str] = log.open("w", encoding="utf-8")
        self._log_path = log
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self.port = self._wait_ready()

    def _wait_ready(self) -> int:
        lines: queue.Queue[str] = queue.Queue()
        output = self.process.stdout
        assert output is not None

        def read() -> None:
            for line in output:
                lines.put(line)

        threading.Thread(target=read, daemon=True).start()
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(queue.Empty):
                found = re.search(r":(\d+)$", lines.get(timeout=0.2).strip())
                if found:
                    return int(found[1])
        self.stop()
        said = self._log_path.read_text(encoding="utf-8").splitlines()[-5:]
        raise DidNotStart("\n".join(["the service did not start", *said]))

    def family(self) -> dict[str, list[psutil.Process]]:
        """Its processes by role: gateway, java, worker."""
        found: dict[str, list[psutil.Process]] = {"gateway": [], "java": [], "worker": []}
        with contextlib.suppress(psutil.Error):
            own = psutil.Process(self.process.pid)
            found["gateway"].append(own)
            for child in own.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if child.name() == "java":
                        found["java"].append(child)
                    elif any("model_service_worker" in word for word in child.cmdline()):
                        found["worker"].append(child)
        return found

    def manage(self, method: str, path: str) -> int:
        """Send a management request; return its status."""
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        ) as made:
            made.request(method, path, headers={"authorization": f"Bearer {MANAGEMENT_KEY}"})
            reply = made.getresponse()
            reply.read()
            return reply.status

    def post(self, path: str, value: Any, seconds: float = 60) -> tuple[int, bytes]:
        """Ask for something; return its status and body."""
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        ) as made:
            made.request("POST", path, json.dumps(value), {"content-type": "application/json"})
            reply = made.getresponse()
            return reply.status, reply.read()

    def records(self) -> Iterator[dict[str, Any]]:
        """The JSON lines of its log."""
        for line in self._log_path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                yield json.loads(line)

    def stop(self) -> list[str]:
        """End it as a platform does; return the names of processes that were left."""
        family = [process for role in self.family().values() for process in role]
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
        self._log.close()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        # By looking, not by psutil's waiting, which trips over one that ends just then.
        latest = time.monotonic() + 5
        while (alive := [p for p in family if _lives(p)]) and time.monotonic() < latest:
            time.sleep(0.05)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        return [str(process) for process in alive]


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
