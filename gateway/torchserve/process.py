"""TorchServe as a child process: started, watched for readiness, stopped.

Java is started directly, without the `torchserve` wrapper, so that its process is ours: no pid
file, no second process between, and it dies with its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from gateway.archives.signature import BadSignature, verify
from gateway.launch.launch import Launch, TorchServeError, TorchServeSettings
from gateway.launch.run_folder import NoFolder, RunFolder
from gateway.torchserve.last_words import LastWords

PR_SET_PDEATHSIG = 1  # linux/prctl.h


class TorchServe:
    """One TorchServe and the files it needs while it runs."""

    def __init__(self, settings: TorchServeSettings) -> None:
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        self.words = LastWords()
        self._folder: RunFolder | None = None
        self._launch: Launch | None = None
        # Whoever stops it while it is being prepared waits, so that nothing is left behind.
        self._preparing = threading.Lock()

    def prepare(self) -> None:
        """Make and unpack what it needs; `start` does it otherwise.

        Raises:
            TorchServeError: No Java, no archive, no room for it.
        """
        with self._preparing:
            self._prepare()

    def _prepare(self) -> None:
        for name in self.settings.models.values():
            if not (self.settings.model_store / name).exists():
                raise TorchServeError(f"the model store has no {name}")
            try:
                verify(self.settings.model_store / name, self.settings.public_key)
            except BadSignature as fault:
                raise TorchServeError(str(fault)) from None
        try:
            folder = self._folder = RunFolder()
        except NoFolder as error:
            raise TorchServeError(str(error)) from None
        try:
            self._check_space(folder.temporary)
            self._launch = Launch(self.settings, folder)
            self._launch.unpack()
        except OSError as error:
            raise TorchServeError(_report(error, folder.temporary)) from None

    def start(self) -> Path:
        """Start the process, from the thread with which it is to end; return the folder it runs in.

        Raises:
            TorchServeError: As `prepare`.
        """
        if self._launch is None:
            self.prepare()
        launch, folder = self._launch, self._folder
        assert launch is not None and folder is not None
        try:
            command, environment = launch.command(), launch.environment()
        except OSError as error:
            raise TorchServeError(_report(error, folder.temporary)) from None
        parent = os.getpid()
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches the parent alone: it drains first
            preexec_fn=lambda: _prepare_child(parent),
        )
        self.words.listen_to(self.process)
        return folder.path

    def _check_space(self, folder: Path) -> None:
        """Raise TorchServeError unless all that TorchServe unpacks has room there."""
        archives = [self.settings.model_store / name for name in self.settings.models.values()]
        needed = sum(path.stat().st_size for path in archives if path.is_file())
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise TorchServeError(
                f"the model needs {needed / 1e6:,.0f} MB in the folder for temporary files, but "
                f"{folder.resolve().parent} has {free / 1e6:,.0f} MB free; free some space, or "
                "set TMPDIR to a larger one"
            )

    def stop(self, timeout: float = 10.0) -> None:
        """End TorchServe and its workers, by force if they take longer than `timeout` seconds."""
        process, self.process = self.process, None
        if process is not None:
            _signal_group(process, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout)
            _signal_group(process, signal.SIGKILL)  # workers are in the group and may be left
            process.wait()
            self.words.wait_for_end()
        with self._preparing:
            if self._folder is not None:
                self._folder.remove()
                self._folder = self._launch = None

    def wait_ready(self, timeout: float = 120.0) -> None:
        """Wait until every model has a worker that has generated a token.

        Raises:
            TorchServeError: The process ended, a worker gave up, or time ran out.
        """
        deadline = time.monotonic() + timeout
        waiting = list(self.settings.models)
        while waiting:
            if self.process is None or self.process.poll() is not None:
                raise TorchServeError(self.words.explain("TorchServe ended while it was starting"))
            if time.monotonic() > deadline:
                late = f"no worker of {waiting[0]} was ready in {timeout:.0f} s"
                raise TorchServeError(self.words.explain(late))
            if self.is_ready(waiting[0]):
                waiting.pop(0)
            else:
                time.sleep(0.05)

    def is_ready(self, model: str) -> bool:
        """Whether the model has a worker that is READY."""
        url = f"{self.settings.management_url}/models/{model}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                description = json.load(response)
        except (OSError, ValueError):  # not listening yet, or the model is not registered yet
            return False
        return any(worker["status"] == "READY" for worker in description[0]["workers"])


def _report(error: OSError, folder: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the folder for temporary files ({folder.resolve().parent}) is full; free some, or "
            "set TMPDIR to a larger one"
        )
    return f"{error.filename or folder}: {error.strerror}"


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _prepare_child(parent: int) -> None:
    """Have Java end with its parent, so that nothing is left behind (Linux).

    `parent` is the process id of who forks.

    Where memory runs out, the kernel is to end Java or the worker: both are started again.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # The kernel reports deaths from now on only: a parent that died since the fork left us to
        # another process already, and nobody would ever end us.
        if os.getppid() != parent:
            os._exit(1)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
