from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from gateway.torchserve.process import TorchServe
from handler.replies import sideband
from tests.conftest import torchserve_settings
from tests.handler.completions import SECRET
from tests.handler.engines import Rig, packed

MakeRig = Callable[..., Rig]
ARCHIVES = {"torch": ("--engine", "torch"), "fp32": ("--precision", "fp32"), "int8": ()}


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Unpacked archives of the embedded model, by what computes it: packed once for all workers."""
    base = tmp_path_factory.getbasetemp()
    store = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "archives"
    with FileLock(store.with_suffix(".lock")):
        return {name: packed_once(store, name, *arguments) for name, arguments in ARCHIVES.items()}


def packed_once(store: Path, name: str, *arguments: str) -> Path:
    """What `packed` returns; nothing changes these."""
    done = store / f"{name}.done"
    if not done.exists():
        packed(store, name, *arguments)
        done.touch()
    return store / name


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
