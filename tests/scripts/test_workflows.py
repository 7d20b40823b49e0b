"""What GitHub runs is what is run here, on the Pythons that the project says it takes."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from commands import docs, image
from tests.conftest import ROOT

WORKFLOWS = {
    path.stem: yaml.safe_load(path.read_text())
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))
}
CI = (ROOT / ".ci" / "run").read_text()
# A program of this checkout, as a step or a script names it.
OWN_PROGRAM = re.compile(r"(?<!\S)(?:\./)?((?:scripts|\.ci)/[\w-]+)")
OWN_MODULE = re.compile(r"-m (commands\.\w+)")
PATH = re.compile(r"(?<!\S)(tests/\S+)")


def steps(name: str) -> Iterator[dict[str, Any]]:
    """Yield the steps of a workflow."""
    for job in WORKFLOWS[name]["jobs"].values():
        yield from job["steps"]


def commands_of(name: str) -> list[str]:
    """Return what the steps of a workflow run."""
    return [step["run"] for step in steps(name) if "run" in step]


def artifacts(name: str) -> list[str]:
    """Return the paths that a workflow keeps."""
    return [
        step["with"]["path"] for step in steps(name) if "upload-artifact" in step.get("uses", "")
    ]


def test_the_workflow_does_what_must_pass_before_anything_lands() -> None:
    job = next(job for job in WORKFLOWS["ci"]["jobs"].values() if "container" in job)
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    debian = image.DEBIAN_BASE.rpartition(":")[2]
    assert job["container"]["image"] == f"debian:{debian}"
    assert "--privileged" in job["container"]["options"]  # it builds and runs an image


def test_what_must_pass_is_all_tests_and_the_image_with_nothing_skipped() -> None:
    lines = CI.splitlines()
    assert {"./scripts/test", "./scripts/image --test", "export FAIL_ON_SKIP=1"} <= set(lines)
    assert "set -euo pipefail" in lines
    assert set(image.TESTING.values()) <= set(CI.split())  # packages


@pytest.mark.parametrize("name", [*WORKFLOWS, ".ci/run"])
def test_every_program_that_is_run_is_there(name: str) -> None:
    words = CI if name == ".ci/run" else "\n".join(commands_of(name))
    programs = OWN_PROGRAM.findall(words)
    assert programs or OWN_MODULE.search(words)
    for program in programs:
        assert os.access(ROOT / program, os.X_OK), program
    for module in OWN_MODULE.findall(words):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()
    for path in PATH.findall(words):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize(("name", "written"), [("ci", image.REPORT), ("docs", docs.SITE)])
def test_what_a_workflow_keeps_is_what_its_commands_write(name: str, written: Path) -> None:
    assert artifacts(name) == [written.relative_to(ROOT).as_posix()]


def test_a_release_runs_the_tool_of_this_checkout() -> None:
    notes, create = commands_of("release")
    assert notes.startswith('python3 -m commands.release notes "${GITHUB_REF_NAME#v}" > ')
    assert create.endswith(f"--notes-file {notes.rpartition('> ')[2]}")


def pythons() -> list[str]:
    """Return the versions that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = [line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line]
    assert project["requires-python"] == f">={found[0]}"
    return found


def test_every_python_is_tried_and_named_everywhere() -> None:
    first, *others = pythons()
    job = next(job for job in WORKFLOWS["ci"]["jobs"].values() if "strategy" in job)
    assert job["strategy"]["matrix"]["python"] == others  # Debian 12 has the first
    start = (ROOT / "scripts" / "_start.sh").read_text()
    assert f"${{OLDEST:-{first}}}" in start and f"${{NEWEST:-{others[-1]}}}" in start
    for page in ("README.md", "docs/deploy.md"):
        words = " ".join((ROOT / page).read_text().split())
        said = re.findall(r"Python (3\.\d+) to (3\.\d+)", words)
        assert said and set(said) == {(first, others[-1])}, page
