"""`./scripts/deploy --platform vertex-ai` against a `gcloud` that keeps what was made."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.container.cloud import Cloud

WORDS = ("--platform", "vertex-ai", "--model", "models/gpt2-tales")


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path, "http://none")


def is_same(one: str, other: str) -> bool:
    """Whether two commands are, but for what is known only when they run."""
    pairs = list(zip(one.split(), other.split(), strict=False))
    known = ("--model-id=", "--model=", "--deployed-model-id=", "--container-image", "--json-req")
    alike = all(a == b or (a.startswith(known) and b.startswith(known)) for a, b in pairs[3:])
    is_model = one.startswith("gcloud ai models describe gpt2-")
    return one.split()[:4] == other.split()[:4] and (alike or is_model)


def test_a_dry_run_prints_every_command_and_calls_none(cloud: Cloud) -> None:
    dry = cloud.deploy(*WORDS, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert cloud.calls() == []
    printed = [
        " ".join(shlex.split(part, comments=True))
        for line in dry.stdout.splitlines()
        if not line.startswith("#")
        for part in line.split(" || ")
    ]
    real = cloud.deploy(*WORDS, "--yes")
    assert real.returncode == 0, real.stderr
    assert "there was a fox" in real.stdout
    calls = [f"gcloud {call}" for call in cloud.calls()]
    assert len(calls) > 12
    for call in calls:
        assert any(is_same(call, line) for line in printed), call
    assert not any(" run " in call or "secrets" in call for call in calls)


def test_what_is_there_stays_and_all_of_it_can_be_taken_away(cloud: Cloud) -> None:
    assert cloud.deploy(*WORDS, "--yes").returncode == 0
    (cloud.home / "deployed-7").touch()  # of an image before
    cloud.calls()
    assert cloud.deploy(*WORDS, "--yes").returncode == 0
    again = [call for call in cloud.calls() if call.startswith("ai ")]
    assert not any("upload" in call or " create " in f"{call} " for call in again)
    assert not any("endpoints deploy-model" in call for call in again)
    [undeployed] = [call for call in again if "undeploy-model" in call]
    assert "--deployed-model-id=7 " in undeployed
    [left] = cloud.home.glob("deployed-*")
    gone = cloud.deploy(*WORDS, "--delete", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert not left.exists()
    made = {file.name for file in cloud.home.glob("made-*")}
    assert not any(name.startswith(("made-endpoint", "made-model")) for name in made)


@pytest.mark.parametrize("more", [("--public",), ("--management-key", "no-such-file")])
def test_google_alone_checks_who_calls(more: tuple[str, ...], cloud: Cloud) -> None:
    refused = cloud.deploy(*WORDS, *more)
    assert refused.returncode == 1 and "vertex-ai" in refused.stderr
    assert cloud.calls() == []
