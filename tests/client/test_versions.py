"""A new version takes over under running requests, through the client's management calls."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.torchserve.process import TorchServe
from gpt2_client import Client, ClientError, NotFound
from tests.conftest import EMBEDDED_MODEL, ROOT, running_torchserve


@pytest.fixture(scope="module")
def two_versions(
    model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TorchServe]:
    """A TorchServe that serves version 1.0 and has the archive of 2.0 in its store."""
    store = tmp_path_factory.mktemp("two_versions")
    other = tmp_path_factory.mktemp("version_2")
    shutil.copy(model_store / "gpt2.mar", store / "gpt2.mar")
    command = [sys.executable, "-m", "archive", "--model", str(EMBEDDED_MODEL), "--name", "gpt2"]
    command += ["--version", "2.0", "--output", str(other)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300)
    shutil.copy(other / "gpt2.mar", store / "gpt2-v2.mar")
    with running_torchserve(store) as server:
        yield server


def test_a_second_version_takes_over_and_no_request_is_lost(two_versions: TorchServe) -> None:
    settings = two_versions.settings
    ended = threading.Event()
    written: list[float] = []
    failures: list[ClientError] = []

    def keep_writing() -> None:
        with Client(settings.inference_url, management_url=settings.management_url) as client:
            while not ended.is_set():
                began = time.monotonic()
                try:
                    reply = client.generate("The sea", max_tokens=6, temperature=0)
                    assert reply.usage is not None and reply.usage.completion_tokens == 6
                except ClientError as error:
                    failures.append(error)
                    return
                written.append(began)

    threads = [threading.Thread(target=keep_writing) for _ in range(4)]
    with Client(settings.inference_url, management_url=settings.management_url) as client:
        for thread in threads:
            thread.start()
        try:
            client.register("gpt2-v2.mar")
            assert {v.version for v in client.describe(version="all")} == {"1.0", "2.0"}
            assert client.models()[0].version == "1.0"
            client.set_default("gpt2", "2.0")
            assert client.models()[0].version == "2.0"
            switched = time.monotonic()
            # What began before the switch runs on version 1.0: it ends before that one goes.
            while sum(began > switched for began in written) < 8 and not failures:
                time.sleep(0.05)
            client.unregister("gpt2", "1.0")
            gone = time.monotonic()
            while sum(began > gone for began in written) < 8 and not failures:
                time.sleep(0.05)
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        assert failures == []
        assert [v.version for v in client.describe(version="all")] == ["2.0"]
        with pytest.raises(NotFound):
            client.generate("Hello", version="1.0")
