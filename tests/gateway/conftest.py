"""A real gateway with a real TorchServe behind it, as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.class_data import class_data_file
from tests.gateway.stand_in import make_java
from tests.patience import PATIENCE
from tests.patience import wait_until as wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
MANAGEMENT_KEY = "management-secret"


def environment_for_tests() -> dict[str, str]:
    """What a service inherits here: without what whoever runs the tests has set for themselves.

    A service says a line of PYTHONPATH, where a test expects one line.
    """
    theirs = ("HOST", "API_KEYS", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in theirs}


class Service:
    """`python -m gateway`, its address, and what it wrote."""

    def __init__(
        self,
        model_store: Path | str,
        *,
        root: Path = ROOT,
        python: Path = Path(sys.executable),
        options: Sequence[str] = (),
        **settings: str,
    ) -> None:
        environment = environment_for_tests() | {
            "PORT": "0",
            "BIND": "127.0.0.1",
            "MODEL_STORE": str(model_store),
            "MANAGEMENT_KEY": MANAGEMENT_KEY,
            "LOG_FORMAT": "json",
            # So that a test may count tokens by events, however long they take.
            "STREAM_INTERVAL_MS": "0",
            "CLASS_DATA_FILE": class_data_file() if python == Path(sys.executable) else "",
            "STREAM_KEEPALIVE_SECONDS": "0",
            "PYTHONUNBUFFERED": "1",
        }
        self.process = subprocess.Popen(
            [python, *options, "-m", "gateway"],
            cwd=root,
            env=environment | settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self.printed: list[str] = []
        self._lines: queue.Queue[str] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read_log, daemon=True),
            threading.Thread(target=self._read_output, daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        self.url = ""

    def wait_ready(self) -> Service:
        """Wait for the one line that says where it is."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(queue.Empty):
                line = self._lines.get(timeout=0.2)
                found = re.search(r"http://\S+", line)
                assert found, line
                self.url = found[0]
                return self
        raise AssertionError("\n".join(["the service did not start", *self.log[-20:]]))

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def records(self) -> list[dict[str, Any]]:
        """The JSON lines of its log."""
        return [json.loads(line) for line in list(self.log) if line.startswith("{")]

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=PATIENCE, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return requests.post(self.url + path, timeout=PATIENCE, **options)

    def complete(self, prompt: str = "Once upon a time", **options: Any) -> requests.Response:
        return self.post("/v1/completions", json={"prompt": prompt} | options)

    def manage(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"authorization": f"Bearer {MANAGEMENT_KEY}"}
        return requests.request(
            method, self.url + path, headers=headers, timeout=PATIENCE, **options
        )

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        lines = self.get("/metrics").text.splitlines()
        values = [line for line in lines if re.match(rf"{name}(\{{.*\}})? ", line)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in values)

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def workers(self) -> list[psutil.Process]:
        """TorchServe's Python workers."""
        found = []
        for child in self.descendants():
            with contextlib.suppress(psutil.Error):
                if any("model_service_worker" in word for word in child.cmdline()):
                    found.append(child)
        return found

    def stop(self) -> int:
        """End it as the platform does; return its exit status."""
        with contextlib.suppress(psutil.Error):
            family = self.descendants()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            for process in family:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            self.process.kill()
            status = self.process.wait()
        for reader in self._readers:
            reader.join(PATIENCE)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        return status

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line.rstrip("\n"))
            self._lines.put(line)


StartService = Callable[..., Service]


@pytest.fixture(scope="module")
def start_service(model_store: Path) -> Iterator[StartService]:
    """Starts services with settings of their own; ends them after the module."""
    started: list[Service] = []

    def start(*, ready: bool = True, store: Path = model_store, **settings: Any) -> Service:
        service = Service(store, **settings)
        started.append(service)
        return service.wait_ready() if ready else service

    yield start
    for service in started:
        service.stop()


StartStandIn = Callable[..., Service]


@pytest.fixture(scope="module")
def start_stand_in(
    start_service: StartService, tmp_path_factory: pytest.TempPathFactory
) -> StartStandIn:
    """Starts real gateways before a script that stands where Java would."""

    def start(*, record: Path = Path(os.devnull), **settings: str) -> Service:
        packages = tmp_path_factory.mktemp("packages")
        return start_service(**make_java(packages, record), **settings)

    return start


@pytest.fixture(scope="session")
def service(model_store: Path) -> Iterator[Service]:
    """One service for all tests that leave it as it was."""
    shared = Service(model_store).wait_ready()
    yield shared
    shared.stop()


def change_archive(source: Path, target: Path, file: str, before: str, after: str) -> None:
    """Write an archive whose handler does one thing differently."""
    with zipfile.ZipFile(source) as sound, zipfile.ZipFile(target, "w") as made:
        for entry in sound.infolist():
            content = sound.read(entry)
            if entry.filename == file:
                assert content.count(before.encode()) == 1, before
                content = content.replace(before.encode(), after.encode())
            made.writestr(entry, content)


def events(response: requests.Response) -> list[Any]:
    """The data of a stream's events; the last is "[DONE]"."""
    found: list[Any] = []
    for line in response.iter_lines():
        if line.startswith(b"data: "):
            data = line.removeprefix(b"data: ").decode()
            found.append(data if data == "[DONE]" else json.loads(data))
    return found


@contextlib.contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    """A file system of its own."""
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=False)
    if done.returncode:
        pytest.skip("this user may not mount file systems")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
