import io
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.training.text import tales
from training.__main__ import main

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "--layers": 2,
    "--width": 64,
    "--context": 64,
    "--vocab-size": 400,
    "--steps": 30,
    "--tokens-per-step": 512,
    "--dropout": 0.1,
    "--save-every": 5,
    "--evaluate-every": 15,
    "--samples": 2,
    "--compile": "no",
    "--precision": "fp32",
    "--progress-seconds": 0.1,
}
TINY = [*(str(part) for item in SETTINGS.items() for part in item), "--no-references", "--no-sweep"]


@dataclass(frozen=True)
class Ended:
    """What a whole run gave."""

    status: int
    out: str
    said: str


# By itself: another process might be too late on a busy machine.
DIES_AT_STEP = """
import os, signal, sys
from training.__main__ import main
from training.trainer import GPT2Trainer

step, loss = int(sys.argv[1]), GPT2Trainer.compute_loss

def loss_or_death(self, *rest, **more):
    if self.state.global_step == step:
        os.kill(os.getpid(), signal.SIGKILL)
    return loss(self, *rest, **more)

GPT2Trainer.compute_loss = loss_or_death
main(sys.argv[2:])
"""


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("text")
    (directory / "tales.txt").write_text(tales(400), encoding="utf-8")
    return directory


@pytest.fixture(scope="session")
def killed_at() -> Callable[..., None]:
    """Start ``train_model`` in a process of its own that is killed in the middle of a step."""

    def start(step: int, *arguments: object) -> None:
        command = [sys.executable, "-c", DIES_AT_STEP, str(step), *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert ended.returncode == -signal.SIGKILL, ended.stderr

    return start


@pytest.fixture(scope="session")
def run_whole() -> Callable[..., Ended]:
    """A whole run in this process, which spares importing torch anew."""

    def run(*arguments: object) -> Ended:
        out, said = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(said), warnings.catch_warnings():
            warnings.simplefilter("default")  # libraries' own, as on the command line
            status = main([*map(str, arguments)])
        return Ended(status, out.getvalue(), said.getvalue())

    return run


@pytest.fixture(scope="session")
def trained(
    run_whole: Callable[..., Ended], text: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A tiny model, trained from scratch without a break."""
    output = tmp_path_factory.mktemp("runs") / "unbroken"
    ended = run_whole("--text", text, "--output", output, *TINY)
    assert ended.status == 0, ended.said
    (output / "said.txt").write_text(ended.said)
    return output
