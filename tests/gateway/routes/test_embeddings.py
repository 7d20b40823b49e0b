"""Embeddings over HTTP, as OpenAI's and vLLM's clients ask for them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
import requests

from tests.gateway.conftest import Service, StartService, events
from tests.patience import PATIENCE

WIDTH = 320
TEXTS = ["The old house", "Once upon a time", "x"]


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=service.url + "/v1", api_key="none", max_retries=0) as made:
        yield made


def ask(service: Service, texts: Any, **options: Any) -> requests.Response:
    return service.post("/v1/embeddings", json={"input": texts} | options)


def vectors(response: requests.Response) -> Any:
    assert response.status_code == 200, response.text
    return np.array([each["embedding"] for each in response.json()["data"]])


def test_openais_client_gets_vectors_of_length_one(client: openai.OpenAI) -> None:
    reply = client.embeddings.create(model="gpt2", input=TEXTS)  # it asks for base64 by itself
    assert [each.index for each in reply.data] == [0, 1, 2]
    found = np.array([each.embedding for each in reply.data])
    assert found.shape == (3, WIDTH)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert reply.model == "gpt2" and reply.usage.prompt_tokens == reply.usage.total_tokens > 3
    floats = client.embeddings.create(model="gpt2", input=TEXTS, encoding_format="float")
    assert (found.astype("f4") == np.array([e.embedding for e in floats.data], "f4")).all()


def test_base64_holds_little_endian_floats(service: Service) -> None:
    reply = ask(service, TEXTS, encoding_format="base64").json()
    for each, expected in zip(reply["data"], vectors(ask(service, TEXTS)), strict=True):
        raw = base64.b64decode(each["embedding"])
        assert (np.frombuffer(raw, "<f4") == expected.astype("f4")).all()


def test_texts_and_their_ids_are_the_same(service: Service) -> None:
    ids = [service.post("/v1/tokenize", json={"text": text}).json()["tokens"] for text in TEXTS]
    together = vectors(ask(service, TEXTS))
    assert (vectors(ask(service, ids)) == together).all()
    for number, text in enumerate(TEXTS):
        assert (vectors(ask(service, text))[0] == together[number]).all()
        assert (vectors(ask(service, ids[number]))[0] == together[number]).all()


def test_dimensions_pooling_and_length(service: Service) -> None:
    whole = vectors(ask(service, TEXTS, normalize=False))
    cut = vectors(ask(service, TEXTS, dimensions=16))
    expected = whole[:, :16] / np.linalg.norm(whole[:, :16], axis=1, keepdims=True)
    np.testing.assert_allclose(cut, expected, atol=1e-6)
    last = vectors(ask(service, TEXTS, pooling="last", normalize=False))
    assert (last[:2] != whole[:2]).any()
    assert (last[2] == whole[2]).all()  # of one token


def test_a_text_that_is_too_long_is_refused_or_cut(service: Service) -> None:
    long = [7] * 600
    refused = ask(service, ["x", "word " * 600])
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert error["param"] == "input" and error["code"] == "context_length_exceeded"
    assert "`input[1]`" in error["message"]
    cut = ask(service, long, truncate_prompt_tokens=-1)
    assert cut.json()["usage"]["prompt_tokens"] == 512
    assert cut.json()["usage"]["prompt_tokens_details"]["truncated_tokens"] == 88
    kept = ask(service, [*long, 8, 9], truncate_prompt_tokens=2)
    assert (vectors(kept) == vectors(ask(service, [8, 9]))).all()


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({}, "input", "required"),
        ({"input": None}, "input", "empty"),
        ({"input": ""}, "input", "empty"),
        ({"input": []}, "input", "empty"),
        ({"input": ["a", ""]}, "input", "index 1"),
        ({"input": [[1], []]}, "input", "empty"),
        ({"input": [1, "a"]}, "input", "list"),
        ({"input": {"a": 1}}, "input", "list"),
        ({"input": [-1]}, "input", "negative"),
        ({"input": [10**6]}, "input", "token id"),
        ({"input": "\ud800"}, "input", "lone surrogate"),
        ({"input": ["a"] * 2049}, "input", "2048"),
        ({"input": "a", "dimensions": 321}, "dimensions", "320"),
        ({"input": "a", "dimensions": 0}, "dimensions", "1"),
        ({"input": "a", "pooling": "cls"}, "pooling", "mean"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format", "base64"),
        ({"input": ["a"] * 1000}, "input", "base64"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    service: Service, body: dict[str, Any], param: str, said: str
) -> None:
    response = service.post("/v1/embeddings", json=body)
    error = response.json()["error"]
    assert response.status_code == 400 and error["param"] == param
    assert said in error["message"]


def test_a_thousand_texts_beside_a_stream(service: Service) -> None:
    asked = {"prompt": "Once", "max_tokens": 300, "ignore_eos": True, "stream": True, "seed": 1}
    with requests.post(
        service.url + "/v1/completions", json=asked, stream=True, timeout=PATIENCE
    ) as stream:
        many = ask(service, ["a"] * 1000, encoding_format="base64", unknown=1)
        assert many.status_code == 200 and len(many.json()["data"]) == 1000
        assert many.headers["x-ignored-fields"] == "unknown"
        assert many.headers["x-model-digest"]
        assert len({each["embedding"] for each in many.json()["data"]}) == 1
        assert events(stream)[-1] == "[DONE]"


def test_other_roads_to_it(service: Service) -> None:
    expected = vectors(ask(service, "A fox"))
    body = {"input": "A fox", "model": "gpt2"}
    for path in ("/embeddings", "/v1/embeddings/", "/predictions/gpt2/v1/embeddings"):
        assert (vectors(service.post(path, json=body)) == expected).all()
    assert service.post("/v1/embeddings", json=body | {"model": "other"}).status_code == 404
    assert service.get("/v1/embeddings").status_code == 405
    limits = service.get("/v1/models/gpt2").json()["limits"]
    assert limits["inputs"] == 2048 and limits["inputs_at_once"] == 16


def test_keys_and_origins(start_service: StartService) -> None:
    service = start_service(API_KEYS="a:secret", CORS_ORIGINS="https://a.example")
    assert ask(service, "A fox").status_code == 401
    headers = {"authorization": "Bearer secret", "origin": "https://a.example"}
    response = service.post("/v1/embeddings", json={"input": "A fox"}, headers=headers)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "https://a.example"
