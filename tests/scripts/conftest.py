"""A checkout in which the real scripts run, with a Python that stands for minutes of set-up."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import free_ports
from tests.patience import PATIENCE as PATIENCE
from tests.patience import wait_until as wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
REAL_PYTHON = os.path.realpath(sys.executable)  # under the environment: without its packages
TOOLS = "bash cat cp dirname env mkdir readlink sleep touch"
COPIED = "scripts commands pyproject.toml requirements.lock gateway handler/content/utf8.py"
# What an archive is made of.
SOURCES = (
    "handler/gpt2_handler.py",
    "archive/package.py",
    "config/model-config.yaml",
    "models/gpt2-tales/config.json",
)

# Where the real one takes minutes, it writes down what it is asked for; the rest it does for real,
# under its own name.
STAND_IN = f"""#!{shutil.which("bash")}
root="${{PYTHONPATH:?}}"
case "$1 $2" in
  "-m pip" | "-m archive" | "-m gateway") ;;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; exit ;;
  *) exec -a "$0" "{REAL_PYTHON}" "$@" ;;
esac
case "$3" in --version | config) exit 0 ;; esac
echo "${{*:2}}" >>"$root/asked"
[ "$2" != gateway ] || printf '%s\\n' "$MODEL_STORE" "$MODEL_ARCHIVE" >"$root/served"
case "$*" in *"$(cat "$root/hangs" 2>/dev/null || echo nothing)"*)
  exec "{REAL_PYTHON}" -c "$(cat "$root/hang.py")" "$root/hanging" ;;
esac
case "$*" in *--dry-run*) cat "$root/report"; exit ;; esac
[ "$2" != archive ] || {{ mkdir -p "$9" && touch "$9/$6.mar"; }}
"""

# As pip and the packing do, it has a process of its own at work.
HANG = """
import pathlib, subprocess, sys
with subprocess.Popen(["sleep", "300"]):
    pathlib.Path(sys.argv[1]).touch()
"""


class Checkout:
    """Enough of this project for its scripts to run."""

    def __init__(self, root: Path) -> None:
        self.root = root / "checkout"
        self.tools = root / "tools"
        self.archive = self.root / "model_store" / "served-gpt2-tales.mar"
        self.port = free_ports(1)[0]
        self.started: list[psutil.Process] = []
        for name in SOURCES:
            (self.root / name).parent.mkdir(parents=True)
            (self.root / name).touch()
        (self.root / "model_store").mkdir()
        for name in COPIED.split():
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            copy(ROOT / name, self.root / name)
        (self.root / ".env").write_text(f"PORT={self.port}\n")
        (self.root / "hang.py").write_text(HANG)
        self.tools.mkdir()
        for tool in TOOLS.split():
            (self.tools / tool).symlink_to(shutil.which(tool) or tool)
        self.has_python("python3.11", STAND_IN)

    def has_rooms(self, *names: str) -> None:
        """Have all of these rooms, not only what serving needs of them."""
        for name in names:
            shutil.copytree(ROOT / name, self.root / name, dirs_exist_ok=True)

    def has_python(self, name: str, script: str) -> None:
        """Put a Python, or what claims to be one, on the PATH."""
        (self.tools / name).write_text(script)
        (self.tools / name).chmod(0o755)

    def has_torch(self, version: str) -> None:
        """Have this version of torch installed; {pinned} is the one in requirements.lock."""
        lock = (self.root / "requirements.lock").read_text()
        pinned = next(line[7:] for line in lock.splitlines() if line.startswith("torch=="))
        name = "torch-" + version.format(pinned=pinned)
        major, minor = sys.version_info[:2]
        packages = self.root / ".venv" / "lib" / f"python{major}.{minor}" / "site-packages"
        (packages / f"{name}.dist-info").mkdir(parents=True)

    def start(
        self, *arguments: str, script: str = "serve", **environment: str
    ) -> subprocess.Popen[str]:
        """Start a script with nothing but the tools on its PATH."""
        return subprocess.Popen(
            [f"./scripts/{script}", *arguments],
            cwd=self.root,
            env={"PATH": str(self.tools), "HOME": str(self.root)} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_hear_signals,
        )

    def serve(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ./scripts/serve to its end: the gateway of this checkout ends at once."""
        return self.run("serve", *arguments, **environment)

    def run(
        self, script: str, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script to its end."""
        process = self.start(*arguments, script=script, **environment)
        output, errors = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    @property
    def asked(self) -> list[str]:
        """What Python was asked to run, one line each: pip, archive and gateway with arguments."""
        asked = self.root / "asked"
        return asked.read_text().splitlines() if asked.exists() else []

    def asked_for(self, start: str) -> list[str]:
        """Those lines that start so."""
        return [line for line in self.asked if line.startswith(start)]

    def served_by_the_gateway(self) -> tuple[str, ...]:
        """The store and the archive that the gateway was told."""
        return tuple((self.root / "served").read_text().splitlines())

    def hang(self, words: str) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
        """Start ./scripts/serve; return it and its children once it hangs in that command."""
        (self.root / "hangs").write_text(words)
        process = self.start()
        wait_until((self.root / "hanging").exists)
        children = psutil.Process(process.pid).children(recursive=True)
        self.started += [psutil.Process(process.pid), *children]
        return process, children


def _hear_signals() -> None:
    """A shell that starts the tests in its background has them ignore Ctrl-C, nohup a hang-up."""
    for sent in (signal.SIGINT, signal.SIGHUP):
        signal.signal(sent, signal.SIG_DFL)


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    alive = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
    return alive


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    checkout = Checkout(tmp_path)
    yield checkout
    for process in living(checkout.started):  # where a test failed
        process.kill()
