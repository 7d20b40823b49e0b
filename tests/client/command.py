"""`gpt2` as a process of its own, of the package that these tests import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import gpt2_client
from tests.patience import PATIENCE

GPT2 = [sys.executable, "-m", "gpt2_client"]
# Nothing of the machine's settings and proxies.
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": os.pathsep.join(
        [str(Path(gpt2_client.__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(":")]
    ),
    "LC_ALL": "C.UTF-8",
    # ./scripts/test --coverage measures it too.
    **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
}


def run(
    url: str, *arguments: str, text: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `gpt2 --url URL ARGUMENTS` to its end."""
    return subprocess.run(
        [*GPT2, "--url", url, *arguments],
        env=ENVIRONMENT | environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
