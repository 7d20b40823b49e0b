"""The drivers do what they are measured by: every token once, in order, on the real thing."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.drivers.loop import Timeline
from bench.interleave import interleaved
from bench.process import DriverError, DriverProcess
from gateway.torchserve.process import TorchServe
from tests.conftest import EMBEDDED_MODEL

ENGINE = "bench.drivers.engine"


@pytest.fixture(scope="module")
def unpacked(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(model_store / "gpt2.mar") as archive:
        archive.extractall(directory)
    return directory


@pytest.fixture(scope="module")
def engine(unpacked: Path) -> Iterator[DriverProcess]:
    options = {"archive": str(unpacked), "threads": 2}
    with DriverProcess("engine", sys.executable, ENGINE, options) as driver:
        yield driver


def test_the_engine_writes_every_token_that_was_asked_for(engine: DriverProcess) -> None:
    counts = [1, 5, 9]
    result = engine.generate([[11, 12, 13], [21, 22, 23, 24], [31, 32]], counts)
    assert result["tokens"] == sum(counts)
    assert len(result["first"]) == 3
    assert all(0 < moment <= result["seconds"] for moment in result["first"])
    assert 0.1 < engine.start_seconds < 60
    assert engine.resident_mb() > 20


def test_clients_over_http_count_the_same_tokens(torchserve: TorchServe) -> None:
    url = f"{torchserve.settings.inference_url}/predictions/gpt2"
    options = {"url": url, "streaming": True}
    with DriverProcess("http", sys.executable, "bench.drivers.http", options) as clients:
        result = clients.generate([[11, 12, 13], [21, 22]], [4, 12])
        assert result["tokens"] == 16
        with pytest.raises(DriverError, match="400"):
            clients.generate([[999_999]], [1])


def test_perplexity_is_that_of_transformers_up_to_the_precision(engine: DriverProcess) -> None:
    window = [(37 * i) % 4000 + 1 for i in range(100)]
    options = {"checkpoint": str(EMBEDDED_MODEL), "threads": 2}
    module = "bench.drivers.transformers"
    with DriverProcess("transformers", sys.executable, module, options) as reference:
        wanted = reference.perplexity([window])
        assert reference.generate([[1, 2], [3, 4]], [3, 3])["tokens"] == 6
    found = engine.perplexity([window])
    assert found["tokens"] == wanted["tokens"] == 99
    assert found["nll"] == pytest.approx(wanted["nll"], rel=0.02)


def test_a_driver_that_can_not_load_says_why(tmp_path: Path) -> None:
    options = {"archive": str(tmp_path), "threads": 1}
    with pytest.raises(DriverError, match="ended"):
        DriverProcess("engine", sys.executable, ENGINE, options)


def test_a_system_that_fails_is_named_and_the_others_go_on(engine: DriverProcess) -> None:
    failures: list[str] = []

    def work(driver: DriverProcess) -> str:
        if driver is not engine:
            raise DriverError("broken")
        return driver.system

    both = {"engine": engine, "other": object.__new__(DriverProcess)}
    found = interleaved(both, 2, work, lambda system, _: failures.append(system))
    assert found == {"engine": ["engine", "engine"]}
    assert failures == ["other"]


def test_the_steady_stretch_holds_only_moments_when_all_streams_write() -> None:
    timeline = Timeline(2)
    timeline.times = [[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]
    result = timeline.result()
    assert (result["steady_tokens"], result["steady_seconds"]) == (2, 1.0)
    assert result["first"] == [1.0, 2.0]
