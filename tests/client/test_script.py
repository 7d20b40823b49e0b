"""./scripts/gpt2 in a checkout: at once where it can be, then with the client and no more."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.client.command import ENVIRONMENT
from tests.client.scripted_server import END, USAGE, Answer, chunk, scripted
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("check out")
    (place / "scripts").mkdir()
    for name in ("gpt2", "_start.sh"):
        shutil.copy(ROOT / "scripts" / name, place / "scripts")
    shutil.copytree(ROOT / "commands", place / "commands")
    shutil.copy(ROOT / "requirements.lock", place)
    shutil.copy(ROOT / "pyproject.toml", place)
    shutil.copytree(ROOT / "client", place / "client", ignore=shutil.ignore_patterns("__pycache__"))
    return place


def gpt2(checkout: Path, *words: str, at: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [checkout / "scripts" / "gpt2", *words],
        cwd=at,
        env=environment | {"HOME": str(at)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_help_and_wrong_usage_are_answered_before_anything_is_installed(checkout: Path) -> None:
    assert "usage: gpt2" in gpt2(checkout, "--help", at=checkout).stdout
    wrong = gpt2(checkout, "scale", "two", at=checkout)
    assert (wrong.returncode, "did you mean 2?" in wrong.stderr) == (2, True)
    assert not (checkout / ".venv-client").exists()


def test_the_client_alone_is_installed_and_finds_the_checkouts_service(
    checkout: Path, tmp_path: Path
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('a stranger of the folder it runs in')")
    with scripted(Answer(pieces=[chunk(" once", finish="stop"), USAGE, END])) as server:
        (checkout / ".env").write_text(f"PORT={server.url.rpartition(':')[2]}\n")
        done = gpt2(checkout, "generate", "Hello", at=tmp_path)
    if "is there a network?" in done.stderr:
        pytest.skip("no package index can be reached")
    assert (done.returncode, done.stdout) == (0, " once\n"), done.stderr
    listed = subprocess.run(
        [checkout / ".venv-client" / "bin" / "python", "-m", "pip", "list", "--format", "freeze"],
        capture_output=True,
        text=True,
    )
    names = {line.partition("=")[0].partition(" ")[0].lower() for line in listed.stdout.split("\n")}
    # `requests` and what that needs; what venv brings.
    needed = {"requests", "certifi", "charset-normalizer", "idna", "urllib3"}
    assert names - {"", "-e", "pip", "setuptools", "gpt2-client"} == needed
