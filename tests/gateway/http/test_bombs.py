"""Prompts as bombs: each is answered as it should be, and a neighbour's stream is whole and right.

How long the neighbour waits meanwhile is measured by `./scripts/soak --bombs`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from soak.bombs.kinds import BOMBS, Bomb
from tests.gateway.conftest import Service, StartService, events

NEIGHBOUR = {"prompt": "Once upon a time", "max_tokens": 60, "ignore_eos": True, "seed": 1}


@pytest.fixture(scope="module")
def bombed(start_service: StartService) -> Service:
    return start_service()


def streamed(service: Service) -> list[Any]:
    """The choices of a neighbour's stream."""
    with service.post("/v1/completions", json={**NEIGHBOUR, "stream": True}, stream=True) as reply:
        assert reply.status_code == 200, reply.text
        *said, last = events(reply)
    assert last == "[DONE]"
    return [event["choices"] for event in said]


@pytest.fixture(scope="module")
def alone(bombed: Service) -> list[Any]:
    return streamed(bombed)


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_it_is_answered_and_a_neighbours_stream_is_the_same(
    bombed: Service, alone: list[Any], bomb: Bomb
) -> None:
    with ThreadPoolExecutor(2) as pool:
        fallen = [pool.submit(bombed.post, bomb.path, json=bomb.body) for _ in range(2)]
        assert streamed(bombed) == alone
        statuses = {each.result().status_code for each in fallen}
    assert statuses <= set(bomb.statuses)
