"""A virtual environment with the packages that commands need: created, extended, repaired."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from commands.causes import cause_of, check_space
from commands.errors import CommandError
from commands.pip import Pip, PipError
from commands.sizes import Size
from commands.terminal import say

STAMP = ".stamp"
LOG = "install.log"


class Environment:
    """The virtual environment in a directory."""

    def __init__(self, place: Path, wheels: Path | None = None) -> None:
        self.place = place
        self.python = place / "bin" / "python"
        self.log = place / LOG
        self.wheels = wheels
        self._stamp = place / STAMP

    # What is there

    def version(self) -> str:
        """Return which Python it has; nothing where it does not run, as after an upgrade."""
        command = [str(self.python), "-SEc", "import sys; print(*sys.version_info[:2])"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    def digests(self) -> dict[str, str]:
        """Return what has been installed: each name with the hash of what that was."""
        try:
            stamp = json.loads(self._stamp.read_text(encoding="utf-8"))
            recorded: dict[str, str] = stamp["installed"]
            python: str = stamp["python"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return recorded if python and python == self.version() else {}

    @property
    def packages(self) -> Path:
        """The directory of its packages."""
        major, minor = self.version().split()
        return self.place / "lib" / f"python{major}.{minor}" / "site-packages"

    # What is made

    def prepare(self) -> Pip:
        """Make it, or its Python anew; return its pip. Packages for the same Python stay.

        pip is asked for too: a set-up that was ended early may have left a Python without it.

        Raises:
            CommandError: It cannot be made.
        """
        if not self._has_pip():
            self._make()
        self.log.write_text("", encoding="utf-8")
        return Pip(self.python, self.log, self.wheels)

    def _has_pip(self) -> bool:
        try:
            asked = [str(self.python), "-m", "pip", "--version"]
            return subprocess.run(asked, capture_output=True, check=False).returncode == 0
        except OSError:
            return False

    def _make(self) -> None:
        base = getattr(sys, "_base_executable", sys.executable)
        python = base if sys.prefix != sys.base_prefix else sys.executable
        try:
            for link in self.place.glob("bin/python*"):  # dangling ones are not replaced
                link.unlink()
            done = subprocess.run(
                [python, "-m", "venv", str(self.place)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            failed, words = done.returncode != 0, done.stdout
        except OSError as error:
            failed, words = True, str(error)
        if failed:
            cause = cause_of(words, self.place, "is the package python3-venv installed?")
            raise CommandError(f"a virtual environment could not be created; {cause}")

    def record(self, installed: Mapping[str, str]) -> None:
        """Note what has been installed, beside what was."""
        stamp = {"python": self.version(), "installed": {**self.digests(), **installed}}
        self._stamp.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")

    def failed(self, error: PipError) -> CommandError:
        """Return what to say when pip failed."""
        otherwise = "is there a network?"
        if self.wheels is not None:
            otherwise = f"does {self.wheels} contain all wheels? (./scripts/wheels downloads them)"
        cause = cause_of(str(error), self.place, otherwise)
        log = f"{self.place.name}/{LOG}"
        return CommandError(f"packages could not be installed; {cause} (see {log})")

    def announce(self, names: Sequence[str], size: Size) -> None:
        """Say what is about to come, if there is room for it.

        Raises:
            CommandError: There is none.
        """
        check_space(self.place, size.fetched, size.left)
        if size.left == 0:
            say(f"Bringing {self.place.name} up to date for {', '.join(names)}")
            return
        source = "takes" if self.wheels is not None else "fetches"
        say(
            f"Setting up {self.place.name} for {', '.join(names)}: once; {source} about "
            f"{size.fetched:,} MB, leaves {size.left:,} MB on the disk"
        )

    def replace_this_process(self, arguments: Sequence[str]) -> NoReturn:
        """Go on as its Python, with these arguments."""
        os.execv(self.python, [str(self.python), *arguments])
