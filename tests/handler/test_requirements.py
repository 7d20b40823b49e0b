"""What a foreign TorchServe's Python lacks is one line of its log, never a traceback to decode."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from handler.torchserve import requirements
from tests.archive.checkpoints import write_checkpoint
from tests.archive.test_package import package
from tests.handler.worker import Worker

HERE = Path(sysconfig.get_path("purelib"))
LINES = (Path(__file__).parents[2] / "handler" / "requirements.txt").read_text().splitlines()
WANTED = [Requirement(line) for line in LINES if not line.startswith("#")]
# Asked for by a grammar and by a chat template, and not before: without them the rest is served.
LATER = ("llguidance", "jinja2")
NEEDED = [
    each.name
    for each in WANTED
    if each.name not in LATER and (each.marker is None or each.marker.evaluate())
]
MODULES = {"pyyaml": "yaml"}


def python_without(name: str, place: Path, version: str | None = None) -> Path:
    """An interpreter that has all that this one has but a package, or a broken one instead."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    (packages,) = place.glob("lib/python*/site-packages")
    module = MODULES.get(name, name)
    for entry in HERE.iterdir():
        if entry.name.lower().split("-")[0] not in (name, module):
            (packages / entry.name).symlink_to(entry)
    if version is not None:
        (packages / f"{module}.py").write_text("raise ImportError('of another time')\n")
        metadata = packages / f"{name}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    return place / "bin" / "python"


@pytest.fixture(scope="module")
def unpacked(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(model_store / "gpt2.mar") as archive:
        archive.extractall(folder)
    return folder


def said(python: Path, unpacked: Path, place: Path) -> str:
    """The one line of a worker that cannot load, and does not."""
    with pytest.raises(AssertionError):
        Worker(python, unpacked, place)
    log = (place / "worker.log").read_text()
    assert "Traceback" not in log, log
    (line,) = [line for line in log.splitlines() if "cannot be served" in line]
    assert "pip install -r" in line and "install_py_dep_per_model=true" in line
    return line


# PyYAML is TorchServe's own need too: without it the worker does not get as far.
@pytest.mark.parametrize("name", [name for name in NEEDED if name != "pyyaml"])
def test_what_is_lacking_is_named_with_the_range_that_is_needed(
    name: str, unpacked: Path, tmp_path: Path
) -> None:
    (wanted,) = [each for each in WANTED if each.name == name]
    line = said(python_without(name, tmp_path / "python"), unpacked, tmp_path)
    assert f"lacks {name}{wanted.specifier}." in line


def test_a_chat_template_without_its_package_is_told_at_load(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "checkpoint")
    template = tmp_path / "template.jinja"
    template.write_text("{% for message in messages %}{{ message.content }}{% endfor %}")
    options = ("--precision", "fp32", "--archive-format", "no-archive")
    done = package(tmp_path / "checkpoint", tmp_path, *options, "--chat-template", str(template))
    assert done.returncode == 0, done.stderr
    python = python_without("jinja2", tmp_path / "python")
    assert "lacks jinja2<" in said(python, tmp_path / "gpt2", tmp_path)


def test_one_of_another_version_is_named_with_it(unpacked: Path, tmp_path: Path) -> None:
    python = python_without("pydantic", tmp_path / "python", version="1.10.4")
    assert "pydantic" in (line := said(python, unpacked, tmp_path))
    assert line.count("(it has ") == 1 and "(it has 1.10.4)" in line


def test_nothing_is_unmet_here() -> None:
    assert requirements.unmet() == []


def test_a_fault_of_our_own_stays_a_traceback() -> None:
    with pytest.raises(ZeroDivisionError), requirements.told():
        print(1 // 0)
