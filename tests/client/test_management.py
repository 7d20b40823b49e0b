"""Which calls management makes, and which it refuses to make."""

from __future__ import annotations

import pytest

from gpt2_client import Client, ScaleRefused
from tests.client.scripted_server import COMPLETION, Answer, scripted

DONE = Answer(200, {"status": "done"})
DESCRIBED = Answer(
    200,
    [
        {
            "modelName": "gpt2",
            "modelVersion": "2.0",
            "modelUrl": "gpt2.mar",
            "minWorkers": 1,
            "maxWorkers": 1,
            "workers": [{"id": "9000", "status": "READY", "pid": 7, "memoryUsage": 1000}],
        }
    ],
)


def test_the_gateway_is_asked_to_scale() -> None:
    with scripted(DONE) as server, Client(server.url) as client:
        client.scale(3)
    assert server.asked[0].method == "PUT"
    assert server.asked[0].path == "/models/gpt2?min_worker=3&max_worker=3&synchronous=true"


def test_more_than_one_worker_on_bare_torchserve_is_refused_with_the_reason() -> None:
    with scripted() as server, Client(server.url, management_url=server.url) as client:
        with pytest.raises(ScaleRefused, match="freeze"):
            client.scale(2)
        with pytest.raises(ScaleRefused, match="gateway"):
            client.register("gpt2.mar", workers=2)
    assert server.asked == []


def test_bare_torchserve_writes_on_its_own_route_and_names_the_version_where_it_must() -> None:
    tokens = Answer(200, {"tokens": [5], "texts": ["a"], "count": 1})
    with (
        scripted(Answer(200, COMPLETION), tokens) as inference,
        scripted(DESCRIBED) as management,
        Client(inference.url, management_url=management.url) as client,
    ):
        client.generate("Hello")
        assert client.tokenize("a") == [5]
    assert [asked.path for asked in inference.asked] == [
        "/predictions/gpt2",
        "/predictions/gpt2/2.0/v1/tokenize",
    ]


def test_a_name_cannot_leave_its_place_in_the_path() -> None:
    with scripted(DONE) as server, Client(server.url) as client:
        client.unregister("../admin?x", "1/0")
    assert server.asked[0].path == "/models/..%2Fadmin%3Fx/1%2F0"


def test_a_long_list_of_models_is_read_to_its_end() -> None:
    first = {"models": [{"modelName": "a", "modelUrl": "a.mar"}], "nextPageToken": "1"}
    last = {"models": [{"modelName": "b", "modelUrl": "b.mar"}]}
    with scripted(Answer(200, first), Answer(200, last)) as server, Client(server.url) as client:
        assert client.registered() == {"a": "a.mar", "b": "b.mar"}
    assert server.asked[1].path == "/models?limit=100&next_page_token=1"


@pytest.mark.parametrize(
    ("answers", "live", "ready"),
    [
        ([Answer(200), Answer(200)], True, True),
        ([Answer(200), Answer(503, {"error": {"message": "loading"}})], True, False),
        ([Answer(500)], False, False),
    ],
)
def test_health_tells_alive_from_ready(answers: list[Answer], live: bool, ready: bool) -> None:
    with scripted(*answers) as server, Client(server.url) as client:
        health = client.health()
    assert (health.live, health.ready) == (live, ready)
