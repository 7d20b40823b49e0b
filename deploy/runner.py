"""Runs a deployment's commands, or only shows them. Knows nothing of what they do."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable

from deploy.plan import Step
from deploy.settings import ROOT, DeployError

# An account or a role that was just made is not known everywhere at once; Google asks for patience.
WAITS = (1, 2, 4, 8, 16, 32)
UNSETTLED = re.compile(
    r"[Ss]ervice account \S+ does not exist"
    r"|does not have storage\."
    r"|Permission denied on secret"
    r"|permission to act as"
    r"|concurrent policy changes"
)
ABSENT = re.compile(r"NOT_FOUND|not found|could not be found|does not exist", re.IGNORECASE)
DENIED = re.compile(r"denied|forbidden|does not have", re.IGNORECASE)


class Runner:
    """Runs commands; or, in a dry run, prints each instead."""

    def __init__(self, dry: bool) -> None:
        self.dry = dry
        if not dry and not shutil.which("gcloud"):
            raise DeployError("gcloud is not installed: https://cloud.google.com/sdk/docs/install")

    def run(self, steps: Iterable[Step]) -> None:
        """Run one after the other, up to the first that fails."""
        for step in steps:
            reason = self._take(step)
            if reason is not None:
                done = " ".join(step.command[:4])
                raise DeployError(f"{done} failed, and nothing after it was run: {reason}")

    def run_all(self, steps: Iterable[Step]) -> None:
        """Run all of them, and then say which failed."""
        reasons = [(step, self._take(step)) for step in steps]
        failed = [f"{' '.join(s.command[:4])}: {reason}" for s, reason in reasons if reason]
        if failed:
            raise DeployError("; ".join([f"{len(failed)} of {len(reasons)} failed", *failed]))

    def read(self, command: tuple[str, ...], stands_in: str, what: str = "") -> str:
        """Return what a command prints; in a dry run, what stands in for it."""
        if self.dry:
            print(f"{shlex.join(command)}  # {what or stands_in}")
            return stands_in
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            raise DeployError(f"{' '.join(command[:4])}: {_reason(done.stderr)}")
        return done.stdout.strip()

    def ask(self, command: tuple[str, ...]) -> str:
        """Return what a command prints; nothing where it fails, as for what is not there."""
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        return done.stdout.strip() if done.returncode == 0 else ""

    def _take(self, step: Step) -> str | None:
        """Run a step; return why it failed, or None."""
        if self.dry:
            _show(step)
            return None
        if step.unless:
            done = subprocess.run(step.unless, capture_output=True, text=True, cwd=ROOT)
            is_there = step.output in (None, done.stdout) and step.holds in done.stdout
            if done.returncode == 0 and is_there:
                return None
        for wait in (*WAITS, None):
            print(f"$ {shlex.join(step.command)}", flush=True)
            status, said = _watch(step.command)
            if status == 0:
                return None
            if step.absent_is_fine and ABSENT.search(said) and not DENIED.search(said):
                return None
            if wait is None or not UNSETTLED.search(said):
                break
            print(f"not available everywhere yet: trying again in {wait} s", flush=True)
            time.sleep(wait)
        return _reason(said)


def _watch(command: tuple[str, ...]) -> tuple[int, str]:
    """Run a command; pass on what it says while it does, and return its status and its errors."""
    lines = []
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            print(line, end="", file=sys.stderr, flush=True)
    return process.returncode, "".join(lines)


def _reason(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no reason given"])[0]


def _show(step: Step) -> None:
    line = shlex.join(step.command)
    if step.unless:
        if step.holds:
            print(f"# unless that prints {step.holds}:")
        line = f"{shlex.join(step.unless)} || {line}"
        if step.output is not None:
            print("# unless its value is the file's:")
    print(f"{line}  # may not exist any more" if step.absent_is_fine else line)
