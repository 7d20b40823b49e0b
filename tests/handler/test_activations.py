"""Whoever computes an activation, tests it or serves it knows every row of the one table."""

from __future__ import annotations

import re
from pathlib import Path

from handler.engine.activations import FINISHES, NAMES, SERVED
from handler.engine.torch_model import ACTIVATIONS
from tests.archive.same import SAME
from tests.archive.served import SHAPES
from tests.handler.native.test_kernels import REFERENCES

NATIVE = Path(__file__).resolve().parents[2] / "handler" / "engine" / "native"


def finishes() -> list[str]:
    """The names of C's `Finish`, in their order."""
    found = re.search(r"typedef enum \{([^}]*)\} Finish;", (NATIVE / "matmul.h").read_text())
    assert found
    return [name.strip() for name in found[1].split(",")]


def test_every_finish_of_c_but_the_first_two_is_an_activation() -> None:
    numbers = range(2, len(finishes()))  # behind STORE and ADD_TO
    assert sorted(FINISHES.values()) == list(numbers)


def test_c_computes_every_activation() -> None:
    cases = re.findall(r"case (\w+):", (NATIVE / "finish.h").read_text())
    assert {finishes()[each.finish] for each in SERVED} == set(cases)


def test_torch_computes_every_activation() -> None:
    assert set(ACTIVATIONS) == set(FINISHES)


def test_every_activation_is_compared_with_its_formula() -> None:
    assert set(REFERENCES) == set(FINISHES)


def test_every_name_of_an_activation_is_packaged_and_served() -> None:
    given = [each.config or {} for each in (*SAME.values(), *SHAPES.values())]
    named = {str(each["activation_function"]) for each in given if "activation_function" in each}
    assert named | {"gelu_new"} == set(NAMES)  # gelu_new is what the others have
