"""Versions and their notes."""

from __future__ import annotations

import datetime
import re
import shutil
import tomllib
from pathlib import Path

import pytest

import gpt2_client
from commands import release
from commands.errors import CommandError
from tests.conftest import ROOT

PAGE = (
    "# Changelog\n\n## Unreleased\n\n- New.\n\n## 0.1.0 (2026-01-02)\n\n- First.\n  More of it.\n"
)


def test_the_notes_of_a_version_are_its_section() -> None:
    assert release.notes(PAGE, "0.1.0") == "- First.\n  More of it.\n"
    assert release.notes(PAGE, "Unreleased") == "- New.\n"


@pytest.mark.parametrize("version", ["0.2.0", "0.1", "0x1.0"])
def test_a_version_without_a_section_has_no_notes(version: str) -> None:
    with pytest.raises(CommandError, match=re.escape(version)):
        release.notes(PAGE, version)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in release.PLACES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(PAGE)
    return tmp_path


def test_a_cut_names_what_was_not_released_and_writes_the_version(checkout: Path) -> None:
    release.cut(checkout, "7.8.9", datetime.date(2026, 3, 4))
    page = (checkout / "CHANGELOG.md").read_text()
    assert "## 7.8.9 (2026-03-04)\n" in page
    assert release.notes(page, "7.8.9") == "- New.\n"
    assert release.notes(page, "0.1.0") == "- First.\n  More of it.\n"
    with pytest.raises(CommandError):
        release.notes(page, "Unreleased")
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    assert project["version"] == "7.8.9"
    assert "ARG VERSION=7.8.9\n" in (checkout / "Dockerfile").read_text()
    client = (checkout / "client" / "gpt2_client" / "__init__.py").read_text()
    assert '__version__ = "7.8.9"\n' in client


@pytest.mark.parametrize("version", ["1.0", "v1.0.0", "1.0.0-rc1", ""])
def test_a_cut_to_no_version_changes_nothing(checkout: Path, version: str) -> None:
    before = contents(checkout)
    with pytest.raises(CommandError):
        release.cut(checkout, version, datetime.date(2026, 3, 4))
    assert contents(checkout) == before


def contents(checkout: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(checkout.rglob("*")) if path.is_file()]


def test_the_versions_of_project_image_and_client_are_one() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"ARG VERSION={version}\n" in (ROOT / "Dockerfile").read_text()
    assert gpt2_client.__version__ == version
    assert release.notes((ROOT / "CHANGELOG.md").read_text(), "Unreleased")
