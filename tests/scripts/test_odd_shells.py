"""Shells and machines that are not as usual: the scripts find their home and heal their Python."""

from __future__ import annotations

import subprocess

import pytest

from tests.scripts.conftest import PATIENCE, Checkout


def test_a_script_that_is_linked_from_elsewhere(checkout: Checkout) -> None:
    linked = checkout.tools / "serve-gpt2"
    linked.symlink_to(checkout.root / "scripts" / "serve")
    again = checkout.tools / "again"
    again.symlink_to("serve-gpt2")
    for command in ("serve-gpt2", str(again)):
        ended = subprocess.run(
            [command],
            cwd="/",
            env={"PATH": str(checkout.tools), "HOME": str(checkout.root)},
            executable=str(checkout.tools / command),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert ended.returncode == 0, ended.stderr
        assert checkout.asked[-1] == "gateway"


@pytest.mark.parametrize("model", [(), ("--model", "mine")])
def test_cdpath(checkout: Checkout, model: tuple[str, ...]) -> None:
    elsewhere = checkout.root.parent / "elsewhere"
    for name in ("scripts/..", "mine"):
        (elsewhere / name).mkdir(parents=True, exist_ok=True)
    (checkout.root / "mine").mkdir()
    ended = checkout.serve(*model, CDPATH=f"{elsewhere}:{checkout.root}:.")
    assert ended.returncode == 0, ended.stderr
    assert checkout.asked[-1] == "gateway"
    [packed] = checkout.asked_for("archive")
    assert str(elsewhere) not in packed


def test_variables_for_another_python_are_passed_over_in_one_line(checkout: Checkout) -> None:
    hostile = checkout.root.parent / "hostile"
    hostile.mkdir()
    (hostile / "json.py").write_text("raise SystemExit('a stranger')\n")
    ended = checkout.serve(
        PYTHONHOME="/nowhere", PYTHONPATH=str(hostile), PYTHONHASHSEED="none", PYTHONSAFEPATH="1"
    )
    assert ended.returncode == 0, ended.stderr
    [line] = [line for line in ended.stderr.splitlines() if "ignored, since" in line]
    assert "PYTHONHOME" in line and "PYTHONPATH" in line


def test_a_python_that_is_gone_is_made_anew_and_packages_stay(checkout: Checkout) -> None:
    checkout.serve()
    python = checkout.root / ".venv" / "bin" / "python"
    package = checkout.root / ".venv" / "lib" / "a-package"
    package.parent.mkdir()
    package.touch()
    python.unlink()
    python.symlink_to("/nowhere/python3.11")
    ended = checkout.serve()
    assert ended.returncode == 0, ended.stderr
    assert checkout.asked[-1] == "gateway" and package.exists()
    (checkout.root / "asked").unlink()
    assert checkout.serve().returncode == 0
    assert checkout.asked == ["gateway"]  # healed for good
