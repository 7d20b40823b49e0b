"""The way from nothing to a text: the real container behind a stand-in for Cloud Run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.container.cloud import TOKEN, Cloud, Front, front
from tests.container.conftest import Contract, StartContainer


@pytest.fixture
def service(start: StartContainer) -> Iterator[Front]:
    container = start(MANAGEMENT_KEY="management-key-0123456789")
    container.wait_ready()
    with front(Front(target=container.url)) as made:
        yield made


@pytest.mark.parametrize("access", ["public", "private"])
def test_it_deploys_once_however_often_it_is_run(
    access: str, service: Front, keys: tuple[str, ...], tmp_path: Path, contract: Contract
) -> None:
    cloud = Cloud(tmp_path, service.url)
    words = [*keys[2:], *(["--public"] if access == "public" else [])]
    service.token = "" if access == "public" else TOKEN
    refused = cloud.deploy(*words)
    assert refused.returncode == 1 and "add --yes" in refused.stderr
    assert not any(" create " in call for call in cloud.calls()), "it did not ask first"
    service.refusals = [403]
    first = cloud.deploy(*words, "--yes")
    assert first.returncode == 0, first.stderr
    assert f"GPT-2 is at {service.url}" in first.stdout
    assert "the management key opens /models" in first.stdout
    made = [call for call in cloud.calls() if " create " in call]
    again = cloud.deploy(*words, "--yes")
    assert again.returncode == 0, again.stderr
    assert not any(" create " in call for call in cloud.calls())
    container = cloud.service()["spec"]["template"]["spec"]["containers"][0]
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    assert env["HOST"] == "https://gpt2-123456789.europe-west1.run.app"
    contract.point(
        f"scripts/deploy, {access}: asks, deploys, writes, again", f"{len(made)} things made once"
    )
