"""Each client lives in an environment of its own, kept in .cache for the next time."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.checkpoints import ROOT
from bench.environments import Environment, SetUpError, run
from strangers.stranger import Stranger

HOME = ROOT / ".cache" / "clients"
PROGRAMS = Path(__file__).with_name("clients")
Say = Callable[[str], None]


class Missing(Exception):
    """What runs a client is not on this machine, or cannot be installed; says what."""


class Home:
    """Where one client lives."""

    def __init__(self, stranger: Stranger) -> None:
        self._stranger = stranger
        self._program = PROGRAMS / stranger.program
        self.folder = HOME / stranger.name

    def ensure(self, say: Say) -> None:
        """Install what it needs.

        Raises:
            Missing: That cannot be had.
        """
        HOME.mkdir(parents=True, exist_ok=True)
        installs = self._stranger.installs
        try:
            if self._is_node:
                self._ensure_node(say)
            elif installs:
                self._environment.ensure(say)
        except SetUpError as error:
            raise Missing(str(error)) from None
        self.command("")

    def command(self, check: str) -> list[str]:
        """What is run for a check.

        Raises:
            Missing: Nothing runs such a program here.
        """
        return [*self._runner(), str(self._program), check]

    def version(self) -> str:
        """Which one it is."""
        package = self._stranger.package
        if self._is_node:
            about = self.folder / "node_modules" / package / "package.json"
            return f"{package} {json.loads(about.read_text(encoding='utf-8'))['version']}"
        if self._stranger.installs:
            code = f"import importlib.metadata as m; print(m.version('{package}'))"
            return f"{package} {_output([str(self._environment.python), '-c', code])}"
        version = _output([package, "--version"]).splitlines()[0]
        return " ".join(version.split()[:2])

    @property
    def variables(self) -> dict[str, str]:
        """Of the environment of its programs."""
        return {"NODE_MODULES": str(self.folder / "node_modules")}

    @property
    def _is_node(self) -> bool:
        return bool(self._stranger.installs) and self._stranger.npm

    @property
    def _environment(self) -> Environment:
        stranger = self._stranger
        return Environment(stranger.name, stranger.installs, stranger.arguments, home=HOME)

    def _runner(self) -> list[str]:
        ending = self._program.suffix
        if ending == ".py":
            own = self._stranger.installs and not self._is_node
            return [str(self._environment.python if own else sys.executable)]
        words = {".mjs": ["node"], ".java": ["java"], ".sh": ["bash"]}[ending]
        if shutil.which(words[0]) is None or (ending == ".java" and not shutil.which("javac")):
            wanted = {".mjs": "nodejs", ".java": "default-jdk-headless", ".sh": "bash"}[ending]
            raise Missing(f"there is no {words[0]} (Debian: apt-get install {wanted})")
        if ending == ".sh" and shutil.which(self._stranger.package) is None:
            raise Missing(f"there is no {self._stranger.package}")
        if ending == ".mjs":  # which looks for packages beside the program
            self._program = self.folder / self._program.name
        return words

    def _ensure_node(self, say: Say) -> None:
        if shutil.which("npm") is None:
            raise Missing("there is no npm (Debian: apt-get install npm)")
        stamp, wanted = self.folder / "installed", repr(self._stranger.installs)
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            say(f"installing {self._stranger.name} ({', '.join(self._stranger.installs)})")
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
            words = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(self.folder)]
            run([*words, *self._stranger.installs], self._stranger.name)
            stamp.write_text(wanted, encoding="utf-8")
        for program in PROGRAMS.glob("*.mjs"):
            shutil.copy(program, self.folder)


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "?"
    return done.stdout.strip()
