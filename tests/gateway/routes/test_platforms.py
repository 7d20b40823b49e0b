"""Vertex AI and SageMaker run the same service: what they set, and what they ask."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from deploy import vertex as deployment
from tests.gateway.conftest import Service, StartService, wait_until
from tests.patience import PATIENCE

PREDICT = "/v1/endpoints/7/deployedModels/8:predict"
HEALTH = "/v1/endpoints/7/deployedModels/8"
WRITING = {"max_tokens": 4, "seed": 1}


@pytest.fixture(scope="module")
def vertex(start_service: StartService) -> Service:
    return start_service(
        AIP_HTTP_PORT="0", AIP_PREDICT_ROUTE=PREDICT, AIP_HEALTH_ROUTE=HEALTH, AIP_MODE="PREDICTION"
    )


def written(service: Service, prompt: str) -> str:
    return str(service.complete(prompt, **WRITING).json()["choices"][0]["text"])


def test_vertex_ai_s_routes_are_served(vertex: Service) -> None:
    assert vertex.get(HEALTH).status_code == 200
    prompts = ["Once upon a time", "The fox"]
    reply = vertex.post(PREDICT, json={"instances": prompts, "parameters": WRITING})
    assert reply.json() == {"predictions": [written(vertex, prompt) for prompt in prompts]}
    raw = vertex.post(PREDICT, json={"inputs": prompts[0], "parameters": {"max_new_tokens": 1}})
    assert list(raw.json()[0]) == ["generated_text"]
    refused = vertex.post(PREDICT, json={"instances": []})
    assert refused.status_code == 400 and isinstance(refused.json()["error"], str)
    assert PREDICT in vertex.get("/openapi.json").json()["paths"]


def test_the_deployment_tells_vertex_ai_to_ask_what_is_served(service: Service) -> None:
    assert service.get(deployment.HEALTH_ROUTE).status_code == 200
    reply = service.post(deployment.PREDICT_ROUTE, json=deployment.REQUEST)
    assert reply.status_code == 200 and len(reply.json()["predictions"]) == 1


def test_sagemaker_s_routes_are_served(service: Service) -> None:
    assert service.get("/ping").status_code == 200
    text = written(service, "Once")
    for path in ("/invocations", "/invocations?model_name=gpt2"):
        reply = service.post(path, json={"instances": ["Once"], "parameters": WRITING})
        assert reply.json() == {"predictions": [text]}
    put = requests.put(service.url + "/invocations", data=b"Once", timeout=PATIENCE)  # curl -T
    assert put.status_code == 200 and put.headers["content-type"].startswith("text/plain")
    reply = service.post("/invocations", json={"prompt": "Once", **WRITING})
    assert reply.json()["choices"][0]["text"] == text
    reply = service.post("/invocations?model_name=nobody", json={"prompt": "Once"})
    assert reply.status_code == 404 and reply.json()["type"] == "ModelNotFoundException"


def test_a_model_without_a_worker_says_so_to_who_asks_whether_it_is_ready(
    vertex: Service,
) -> None:
    """Zero workers are one way to have none."""
    ready = ("/v1/models/gpt2", "/v2/models/gpt2/ready", "/v2/health/ready", HEALTH)
    vertex.manage("PUT", "/models/gpt2?min_worker=0&synchronous=true").raise_for_status()
    try:
        for path in ready:
            reply = vertex.get(path)
            assert reply.status_code == 503, path
            assert reply.json().get("ready", False) is False
        assert vertex.get("/v2/health/live").json() == {"live": True}
        assert vertex.get("/v1/models").json()["data"][0]["ready"] is False
        refused: dict[str, Any] = vertex.post(PREDICT, json={"instances": ["x"]}).json()
        assert "0 workers" in refused["error"]
    finally:
        vertex.manage("PUT", "/models/gpt2?min_worker=1&synchronous=true").raise_for_status()
    wait_until(lambda: all(vertex.get(path).ok for path in ready))
