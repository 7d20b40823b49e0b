"""A terminal in which a page's commands run, with a real service where they look for one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.examples.blocks import Command
from tests.patience import PATIENCE

# Where the pages have the service, in each spelling; it listens elsewhere here.
PORT = "8080"
SERVICE = re.compile(rf"(?<=localhost:|127\.0\.0\.1:){PORT}\b")
# What is new in every answer, and what the pages show in its place.
VARYING = (
    (re.compile(r'("id": ?"\w+-)[\w.]+'), r"\g<1>7a89..."),
    (re.compile(r'("created": ?)\d+'), r"\g<1>1795640580"),
)
# Files that the examples read.
STORY = "There was once a fox who lived in a wood, and"
REQUEST = {"prompt": "The fox", "max_tokens": 20}
REQUESTS = {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": REQUEST}
ERROR = re.compile(r'"error": ?[{"]')  # not null


class Terminal:
    """A folder with what the examples need, in which commands run one after the other."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = str(port)
        tools = folder / "tools"
        tools.mkdir(parents=True)
        program = f'#!/bin/sh\nexec "{sys.executable}" -m gpt2_client "$@"\n'
        (tools / "gpt2").write_text(program)
        (tools / "gpt2").chmod(0o755)
        (folder / "scripts").symlink_to(ROOT / "scripts")
        (folder / "story.txt").write_text(STORY)
        (folder / "requests.jsonl").write_text(json.dumps(REQUESTS) + "\n")
        (folder / ".curlrc").write_text("fail-with-body\n")  # a refusal is a failure
        self._environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "client"),
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "NO_PROXY": "*",
            "GPT2_URL": f"http://localhost:{port}",
        }

    def run(self, command: Command) -> tuple[str, ...]:
        """Run a command; return its output's lines as a page shows them.

        Raises:
            AssertionError: It failed, and no error is shown; or the other way about.
        """
        bash = [shutil.which("bash") or "bash", "-o", "pipefail", "-c", self._served(command.text)]
        done = self._done(bash)
        is_error = ERROR.search("\n".join(command.shown)) is not None
        assert (done.returncode != 0) == is_error, f"$ {command.text}\n{done.stdout}{done.stderr}"
        output = done.stdout.replace(self._port, PORT)
        for varying, in_its_place in VARYING:
            output = varying.sub(in_its_place, output)
        return tuple(output.rstrip().splitlines())

    def run_python(self, program: str) -> None:
        """Run a program.

        Raises:
            AssertionError: It failed.
        """
        done = self._done([sys.executable, "-c", self._served(program)])
        assert done.returncode == 0, done.stderr

    def _served(self, text: str) -> str:
        return SERVICE.sub(self._port, text)

    def _done(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
