"""Each command installs what it needs and no more, on top of what is there."""

from __future__ import annotations

import re
import sys

import pytest

from commands.groups import Groups
from tests.conftest import ROOT
from tests.scripts.conftest import Checkout

PIN = re.compile(r"(?<=\s)([A-Za-z0-9_.-]+)==\S+")
# A command line of each, and the groups that it takes.
COMMANDS = {
    "train_model": (["--text", "a.txt"], {"train"}),
    "package_model": ([], {"package"}),
    "bench": (["--quick"], {"serve", "package", "bench"}),
    "deploy": (["--project", "my-project", "--dry-run"], {"deploy"}),
    "serve": ([], {"serve", "package"}),
}


@pytest.fixture
def whole(checkout: Checkout) -> Checkout:
    """A checkout with all rooms; what it runs ends at once, since nothing is really installed."""
    checkout.has_rooms("archive", "bench", "deploy", "training")
    (checkout.root / "a.txt").write_text("Once upon a time.")
    major, minor = sys.version_info[:2]
    (checkout.root / ".venv" / "lib" / f"python{major}.{minor}" / "site-packages").mkdir(
        parents=True
    )
    return checkout


def installed(checkout: Checkout) -> set[str]:
    """The packages that pip was asked for by name, but for pip itself."""
    lines = [line for line in checkout.asked_for("pip install") if "--dry-run" not in line]
    return {name for line in lines for name in PIN.findall(line)} - {"pip"}


def of_groups(names: set[str]) -> set[str]:
    return {line.partition("==")[0] for line in Groups(ROOT).requirements(sorted(names))}


@pytest.mark.parametrize("script", COMMANDS)
def test_a_command_installs_its_groups_alone(whole: Checkout, script: str) -> None:
    arguments, groups = COMMANDS[script]
    whole.run(script, *arguments, TORCH_INDEX_URL="http://127.0.0.1:1/")
    assert installed(whole) == of_groups(groups)


def test_the_next_command_installs_what_is_missing(whole: Checkout) -> None:
    whole.run("serve")
    (whole.root / "asked").unlink()
    whole.run("train_model", "--text", "a.txt", TORCH_INDEX_URL="http://127.0.0.1:1/")
    assert installed(whole) == of_groups({"train"})
    (whole.root / "asked").unlink()
    assert whole.run("serve").returncode == 0
    assert whole.asked == ["gateway"]  # one environment for all of them


def test_torch_comes_to_a_packing_that_asks_for_it(whole: Checkout) -> None:
    whole.run("package_model", "--engine", "torch", TORCH_INDEX_URL="http://127.0.0.1:1/")
    assert installed(whole) == of_groups({"package", "torch"})


def test_the_client_installs_none_of_the_service(whole: Checkout) -> None:
    whole.has_rooms("client")
    whole.run("gpt2", "status")
    assert installed(whole) == set()
    [install] = [line for line in whole.asked_for("pip install") if "--editable" in line]
    assert install.endswith("/client")
    assert not (whole.root / ".venv" / ".stamp").exists()
