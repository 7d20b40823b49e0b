"""The gateway and a bare server: TorchServe with the archive alone.

What its front end loses on the way to a handler is marked, and stands in docs/torchserve.md as not
reachable there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.torchserve.process import TorchServe
from tests.gateway.conftest import Service
from tests.gateway.routes.predictions.asking import (
    PROMPT,
    Server,
)


@pytest.fixture(scope="module", params=["gateway", "bare"])
def server(request: pytest.FixtureRequest) -> Server:
    if request.param == "gateway":
        service: Service = request.getfixturevalue("service")
        return Server(service.url, is_bare=False)
    torchserve: TorchServe = request.getfixturevalue("torchserve")
    return Server(torchserve.settings.inference_url, is_bare=True)


@pytest.fixture
def gateway(service: Service) -> Server:
    return Server(service.url, is_bare=False)


@pytest.fixture
def bare(torchserve: TorchServe) -> Server:
    return Server(torchserve.settings.inference_url, is_bare=True)


@pytest.fixture
def story(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "story.txt"
    path.write_text(PROMPT)
    yield str(path)
