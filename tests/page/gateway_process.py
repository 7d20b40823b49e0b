"""A real gateway with its TorchServe as a process of its own, for a browser to talk to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.class_data import class_data_file
from tests.conftest import ROOT, free_ports
from tests.patience import PATIENCE


class GatewayProcess:
    """`python -m gateway` on a port that stays the same over restarts."""

    def __init__(self, model_store: Path, log: Path, **environment: str) -> None:
        self.port = free_ports(1)[0]
        self.url = f"http://127.0.0.1:{self.port}/"
        self._log = log
        self._environment = {
            **os.environ,
            "PORT": str(self.port),
            "BIND": "127.0.0.1",
            "HOST": self.url.rstrip("/"),
            "MODEL_STORE": str(model_store),
            "N_TOKENS": "20",
            "CLASS_DATA_FILE": class_data_file(),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start; the page is served before the model is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway"],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_page(self) -> None:
        """Wait until the page is served."""
        self._wait("")

    def wait_ready(self) -> None:
        """Wait until the model answers."""
        self._wait("health/ready")

    def kill(self) -> None:
        """End it at once, as a machine that fails does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(PATIENCE)
        self._process = None

    def _wait(self, path: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(self.url + path, timeout=PATIENCE):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        lines = self._log.read_text(errors="replace").splitlines()[-40:]
        raise RuntimeError("The gateway did not start:\n" + "\n".join(lines))
