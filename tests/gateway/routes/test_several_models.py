"""Several models are loaded: the path chooses, or a request's `model`, by name or by hub id."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.gateway.conftest import Service, StartService, change_archive

HUB_ID = "someone/tales"
NAMES = ["second", HUB_ID, f"{HUB_ID}@0123456"]


@pytest.fixture(scope="module")
def two(
    start_service: StartService, model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    store = tmp_path_factory.mktemp("two_models")
    shutil.copy(model_store / "gpt2.mar", store)
    before, after = '"checkpoint": "gpt2-tales"', f'"checkpoint": "{HUB_ID}@0123456"'
    second = store / "second.mar"
    change_archive(store / "gpt2.mar", second, "model/archive.json", before, after)
    service = start_service(store=store)
    reply = service.manage("POST", "/models?url=second.mar&model_name=second&synchronous=true")
    assert reply.status_code == 200, reply.text
    return service


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/completions", {"prompt": "The king", "max_tokens": 2}),
    ("/v1/embeddings", {"input": "The king"}),
    ("/completions/", {"prompt": "The king", "max_tokens": 2}),
]


@pytest.mark.parametrize(("path", "body"), ASKED)
@pytest.mark.parametrize("name", NAMES)
def test_the_field_chooses(two: Service, path: str, body: dict[str, Any], name: str) -> None:
    assert two.post(path, json={**body, "model": name}).json()["model"] == "second"
    for own in (None, "", "gpt2", "gpt2-tales"):
        assert two.post(path, json={**body, "model": own}).json()["model"] == "gpt2"
    assert two.post(path, json=body).json()["model"] == "gpt2"


@pytest.mark.parametrize("name", NAMES)
def test_streams_tokens_and_cards_are_the_chosen_models(two: Service, name: str) -> None:
    with openai.OpenAI(base_url=two.url + "/v1", api_key="none", max_retries=0) as client:
        parts = client.completions.create(model=name, prompt="A", max_tokens=2, stream=True)
        assert {part.model for part in parts} == {"second"}
        assert client.models.retrieve(name).id == "second"
        assert {model.id for model in client.models.list()} == {"gpt2", "second"}
    for path in ("/tokenize", "/v1/tokenize"):
        assert two.post(path, json={"prompt": "The king", "model": name}).status_code == 200
    assert two.post("/v1/chat/completions", json={"model": name, "messages": []}).status_code == 400


def test_the_path_chooses(two: Service) -> None:
    body = {"prompt": "The king", "max_tokens": 2}
    for model in ("gpt2", "second"):
        reply = two.post(f"/predictions/{model}/v1/completions", json=body)
        assert reply.json()["model"] == model
        card = two.get(f"/v1/models/{model}").json()
        assert card["id"] == model


@pytest.mark.parametrize("name", ["third", "someone/other", "second ", "SECOND", "x" * 5000])
def test_who_is_not_there_is_named(two: Service, name: str) -> None:
    reply = two.post("/v1/completions", json={"prompt": "A", "model": name})
    assert reply.status_code == 404 and reply.json()["error"]["code"] == "model_not_found"
