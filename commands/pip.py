"""Runs pip in a virtual environment: of pip's settings here, those of the network are heeded."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commands.causes import ENDED_BY
from commands.processes import started
from commands.terminal import say

# Where packages come from and how that is reached. What else a person set for pip (`user`,
# `target`, `no-binary`, `require-hashes` ...) is for other environments, and would break this one.
NETWORK = (
    *("index-url", "extra-index-url", "no-index", "find-links", "trusted-host"),
    *("cert", "client-cert", "proxy", "timeout", "default-timeout", "retries", "keyring-provider"),
    *("cache-dir", "no-cache-dir"),
)
SHOWN = re.compile(
    r" *(?:Collecting (?P<package>\S+)|Downloading .*\((?P<size>.*)\)$|(?P<error>ERROR.*))"
)


class PipError(Exception):
    """pip failed; what it said of errors."""


def network_settings(python: Path) -> dict[str, str]:
    """Return what pip's files and variables say of the network on this machine."""
    listed = subprocess.run(
        [python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    found: dict[str, str] = {}
    for line in listed.stdout.splitlines():  # global.cert='/a/b', :env:.cert='/a/b'
        key, _, value = line.partition("=")
        name = key.rpartition(".")[2]
        if name not in NETWORK or (name in found and not key.startswith(":env:")):
            continue
        found[name] = " ".join(str(ast.literal_eval(value)).split())
    return found


def as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """Return settings of pip as variables of an environment."""
    return {f"PIP_{name.upper().replace('-', '_')}": value for name, value in settings.items()}


class Pip:
    """pip of one environment.

    python: The environment's. log: Where all of pip's words go. wheels: A directory to take
    packages from instead of the network.
    """

    def __init__(self, python: Path, log: Path, wheels: Path | None = None) -> None:
        self._command = [str(python), "-m", "pip"]
        self._log = log
        settings = network_settings(python)
        if wheels is not None:
            settings = {"no-index": "1", "find-links": wheels.as_uri()}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        self.environment = {
            **clean,
            **as_variables(settings),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_PROGRESS_BAR": "off",
        }

    def run(self, *arguments: str) -> None:
        """Run pip; each package is a line on the terminal.

        Raises:
            PipError: It failed.
        """
        errors = []
        command = [*self._command, *arguments]
        with started(command, self.environment, subprocess.PIPE) as process:
            assert process.stdout is not None
            with self._log.open("a", encoding="utf-8") as log:
                for line in process.stdout:
                    log.write(line)
                    log.flush()
                    _show(line)
                    if "error" in line.lower():
                        errors.append(line)
        if process.returncode:
            if process.returncode < 0:
                errors.append(f"{ENDED_BY} {signal.Signals(-process.returncode).name}\n")
            raise PipError("".join(errors))

    def would_install(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the metadata of what `install` would take; none if unknown."""
        command = [*self._command, "install", "--quiet", "--dry-run", "--report", "-", *arguments]
        with self._log.open("a", encoding="utf-8") as log:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=self.environment
            )
        try:
            return [each["metadata"] for each in json.loads(done.stdout)["install"]]
        except (ValueError, KeyError):
            return []


def _show(line: str) -> None:
    found = SHOWN.match(line)
    if found is None:
        return
    if found["package"]:
        say(f"  {found['package']}")
    elif found["size"]:
        say(f"    downloading {found['size']}")
    else:
        say(f"  {found['error']}")
