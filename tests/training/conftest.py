import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.text import tales

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "--layers": 2,
    "--width": 64,
    "--context": 64,
    "--vocab-size": 400,
    "--steps": 30,
    "--tokens-per-step": 512,
    "--dropout": 0.1,
    "--min-characters": 1000,
    "--save-every": 5,
    "--evaluate-every": 15,
    "--samples": 2,
    "--compile": "no",
    "--precision": "fp32",
    "--progress-seconds": 0.1,
}
TINY = [*(str(part) for item in SETTINGS.items() for part in item), "--no-references", "--no-sweep"]

Tool = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("text")
    (directory / "tales.txt").write_text(tales(400), encoding="utf-8")
    return directory


@pytest.fixture(scope="session")
def tool() -> Tool:
    """Start ``train_model`` as a person does; its words for people come on stderr."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "training", *map(str, arguments)]
        # One thread: tiny models gain nothing from more, and lose much on a busy machine.
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture(scope="session")
def trained(tool: Tool, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, trained from scratch without a break."""
    output = tmp_path_factory.mktemp("runs") / "unbroken"
    process = tool("--text", text, "--output", output, *TINY)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    (output / "said.txt").write_text(said)
    return output
