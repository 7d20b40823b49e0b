"""Shared by the Python clients: the service's address, and the expected answers.

Runs in each client's own environment, and so imports nothing of the project.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

URL = os.environ["SERVICE_URL"]
MODEL = os.environ["SERVICE_MODEL"]
MODEL_DIRECTORY = os.environ["MODEL_DIRECTORY"]
PROMPT = os.environ["PROMPT"]
# What follows the prompt, and what is answered to it, greedily, in eight tokens.
TEXT = os.environ["TEXT"]
ANSWER = os.environ["ANSWER"]
TALK = [{"role": "user", "content": PROMPT}]
TOKENS = 8
# Long enough to be left before its end.
MANY = 480


def same(got: object, expected: object) -> None:
    """Hold what came against what should have come."""
    if got != expected:
        raise AssertionError(f"expected {expected!r}, got {got!r}")


def has_left() -> None:
    """Say that a stream was left, and stay until the service was seen to notice."""
    print("left", flush=True)
    sys.stdin.readline()


def main(*checks: Callable[[], None]) -> None:
    """Do the one check that the command line names."""
    {check.__name__: check for check in checks}[sys.argv[1]]()
