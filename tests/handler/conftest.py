from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.torchserve.process import TorchServe
from handler.replies import sideband
from tests.conftest import torchserve_settings
from tests.handler.completions import SECRET
from tests.handler.engines import Rig, packed

MakeRig = Callable[..., Rig]


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Unpacked archives of the embedded model, by what computes it."""
    store = tmp_path_factory.mktemp("archives")
    return {
        "torch": packed(store, "torch", "--engine", "torch"),
        "fp32": packed(store, "fp32", "--precision", "fp32"),
        "int8": packed(store, "int8"),
    }


@pytest.fixture(params=["torch", "fp32", "int8"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make_rig(archives: dict[str, Path]) -> Iterator[MakeRig]:
    """Make engines that are stopped when the test ends."""
    rigs: list[Rig] = []

    def make(kind: str, **settings: object) -> Rig:
        rigs.append(Rig(archives[kind], **settings))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(make_rig: MakeRig, kind: str) -> Rig:
    return make_rig(kind)


@pytest.fixture(scope="module")
def framing(model_store: Path) -> Iterator[TorchServe]:
    """A TorchServe as a gateway starts it."""
    environment = {sideband.SECRET_VARIABLE: SECRET}
    server = TorchServe(torchserve_settings(model_store, environment=environment))
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()
