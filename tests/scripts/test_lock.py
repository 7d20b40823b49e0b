"""requirements.lock: everything that is asked for stands in it, with the hashes of its files."""

from __future__ import annotations

import importlib.metadata
import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from commands.groups import Groups
from commands.lock import Release, is_used, missing
from commands.measure import closure
from tests.conftest import ROOT

GROUPS = Groups(ROOT)


def test_every_package_but_torch_has_hashes() -> None:
    for name in GROUPS.pins:
        hashes = re.findall(r"--hash=sha256:[0-9a-f]{64}\b", GROUPS.requirement(name))
        assert bool(hashes) == (name != "torch"), name
        assert len(set(hashes)) == len(hashes)


def test_all_that_is_asked_for_here_is_in_it_at_that_version() -> None:
    wanted = closure(GROUPS.requirements(set(GROUPS.names) - {"compile"}))
    pinned = {canonicalize_name(name): pin for name, pin in GROUPS.pins.items()}
    assert wanted <= set(pinned)
    for name in wanted:
        found = importlib.metadata.version(name).partition("+")[0]
        assert pinned[name].endswith(f"=={found}"), name


@pytest.mark.parametrize(
    ("filename", "used"),
    [
        ("a-1.0-py3-none-any.whl", True),
        ("a-1.0-py2.py3-none-any.whl", True),
        ("a-1.0-cp311-cp311-manylinux_2_28_x86_64.whl", True),
        ("a-1.0-cp38-abi3-manylinux_2_28_aarch64.whl", True),
        ("a-1.0-cp314-cp314-macosx_11_0_arm64.whl", True),
        ("a-1.0-py3-none-manylinux_2_12_x86_64.manylinux2010_x86_64.whl", True),
        ("a-1.0.tar.gz", True),
        ("a-1.0.1.tar.gz", False),
        ("a-1.0-cp310-cp310-manylinux_2_28_x86_64.whl", False),
        ("a-1.0-cp314-cp314t-manylinux_2_28_x86_64.whl", False),
        ("a-1.0-pp311-pypy311_pp73-manylinux_2_28_x86_64.whl", False),
        ("a-1.0-cp311-cp311-win_amd64.whl", False),
        ("a-1.0-py2-none-any.whl", False),
        ("a-1.0.exe", False),
    ],
)
def test_files_of_our_pythons_and_platforms_are_used(filename: str, used: bool) -> None:
    assert is_used(filename, "1.0") is used


def test_what_another_python_asks_for_is_missed() -> None:
    # As redis does on Debian 12's Python.
    needs = (Requirement('b; python_full_version < "3.11.3"'),)
    assert missing([Requirement("a==1.0")], {"a": Release("a==1.0", (), needs)}) == {
        'b; python_full_version < "3.11.3" (Python 3.11.2)'
    }


def test_another_version_than_is_asked_for_is_missed() -> None:
    releases = {"a": Release("a==1.0", (), ())}
    assert missing([Requirement("a==1.1")], releases) == {"a==1.1: 1.0 stands there"}
