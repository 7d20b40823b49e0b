"""Text Generation Inference's own routes, as Hugging Face's client and curl ask them."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError, ValidationError

from gateway.errors import Clients, for_clients
from tests.gateway.conftest import Service, events
from tests.gateway.routes.predictions.asking import PROMPT, WRITING, Server
from tests.patience import PATIENCE

OPTIONS: dict[str, Any] = {"max_new_tokens": 6, "seed": 11, "temperature": 0.9}
GREEDY = {"max_tokens": 6, "temperature": 0}


@pytest.fixture
def client(service: Service) -> InferenceClient:
    return InferenceClient(model=service.url)


def test_hugging_face_s_client_asks_the_root(client: InferenceClient, gateway: Server) -> None:
    [choice] = gateway.completion(logprobs=0)["choices"]
    text = choice["text"]
    assert client.text_generation(PROMPT, **OPTIONS) == PROMPT + text
    assert client.text_generation(PROMPT, **OPTIONS, return_full_text=False) == text
    told = client.text_generation(PROMPT, details=True, **OPTIONS)
    assert told.generated_text == PROMPT + text
    assert (told.details.finish_reason, told.details.seed) == ("length", 11)
    assert "".join(token.text for token in told.details.tokens) == text
    found = list(client.text_generation(PROMPT, details=True, stream=True, **OPTIONS))
    assert [event.token.id for event in found] == [token.id for token in told.details.tokens]
    assert found[-1].generated_text == PROMPT + text
    assert found[-1].details.generated_tokens == 6
    assert "".join(client.text_generation(PROMPT, stream=True, **OPTIONS)) == text


def test_it_reads_errors_as_tgi_s(client: InferenceClient) -> None:
    for stream in (False, True):
        with pytest.raises((ValidationError, HfHubHTTPError), match="`temperature` must be") as met:
            list(client.text_generation(PROMPT, temperature=9, stream=stream))
        assert isinstance(met.value, ValidationError) or "temperature" in str(met.value)


@pytest.mark.parametrize(
    ("parameters", "samples"),
    [
        ({}, False),
        (None, False),
        ({"do_sample": False}, False),
        ({"do_sample": None, "temperature": None}, False),
        ({"temperature": 0.9}, True),
        ({"do_sample": False, "temperature": 0.9}, True),
        ({"top_k": 20}, True),
        ({"top_p": 0.9}, True),
        ({"do_sample": True}, True),
    ],
)
def test_what_asks_for_sampling_is_tgi_s_rule(
    gateway: Server, parameters: dict[str, Any] | None, samples: bool
) -> None:
    own = {name: value for name, value in (parameters or {}).items() if name != "do_sample"}
    same = {**own, "max_tokens": 6, "seed": 11} if samples else GREEDY
    asked = None if parameters is None else {"max_new_tokens": 6, "seed": 11, **parameters}
    expected = gateway.text(**({**WRITING, "temperature": None} | same))
    if parameters is None:
        expected = gateway.text(max_tokens=20, temperature=0)
    for path in ("/", "/generate"):
        reply = gateway.send(path, json={"inputs": PROMPT, "parameters": asked})
        assert reply.status_code == 200, reply.text
        value = reply.json()[0] if path == "/" else reply.json()
        assert value == {"generated_text": (PROMPT if path == "/" else "") + expected}
    found = events(gateway.send("/generate_stream", json={"inputs": PROMPT, "parameters": asked}))
    assert found[-1]["generated_text"] == expected
    assert (found[-1]["details"]["seed"] is not None) is samples


def test_generate_answers_in_the_form_in_which_it_is_asked(gateway: Server) -> None:
    own = gateway.send("/generate", json={"input": PROMPT}).json()
    assert own["version"] == "v1.0.0" and own["body"]["query"] == PROMPT
    theirs = gateway.send("/generate", json={"inputs": PROMPT, "parameters": {"details": True}})
    assert set(theirs.json()) == {"generated_text", "details"}
    both = gateway.send("/generate", json={"input": PROMPT, "inputs": PROMPT})
    assert both.status_code == 400 and "not both" in both.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/", {}, "`inputs`"),
        ("/", {"inputs": ["a"]}, "`inputs`"),
        ("/", {"inputs": ""}, "empty"),
        ("/", {"inputs": "a", "parameters": []}, "`parameters`"),
        ("/", {"inputs": "a", "parameters": {"typical_p": 0.5}}, "`typical_p`"),
        ("/", {"inputs": "a", "parameters": {"n": 2}, "stream": True}, "Only one completion"),
        ("/generate", {"inputs": "a", "stream": True}, "`/generate_stream`"),
        ("/generate", {"inputs": "a", "parameters": {"temperature": 9}}, "`temperature`"),
        ("/generate_stream", {"inputs": "a", "stream": False}, "`/generate`"),
        ("/generate_stream", {"inputs": "a", "parameters": {"top_p": 2}}, "`top_p`"),
    ],
)
def test_errors_are_one_text_and_a_type(
    gateway: Server, path: str, body: dict[str, Any], says: str
) -> None:
    reply = gateway.send(path, json=body)
    assert reply.status_code == 400, reply.text
    assert says in reply.json()["error"]
    assert reply.json()["error_type"] == "validation"


def test_the_types_of_errors_are_those_that_the_client_knows() -> None:
    detail = {"error": {"message": "so"}}
    types = {status: for_clients(Clients.TGI, status, detail) for status in (400, 429, 503)}
    assert types == {
        status: {"error": "so", "error_type": name}
        for status, name in ((400, "validation"), (429, "overloaded"), (503, "generation"))
    }


def test_info_says_what_is_served(service: Service) -> None:
    info, card = service.get("/info").json(), service.get("/v1/models/gpt2").json()
    assert info["model_id"] == card["checkpoint"]
    assert info["max_total_tokens"] == card["context_length"]
    assert service.get("/health").status_code == 200


def test_the_root_is_the_page_for_who_asks_and_says_what_it_takes(service: Service) -> None:
    assert service.get("/").headers["content-type"].startswith("text/html")
    refused = requests.delete(service.url + "/", timeout=PATIENCE)
    assert refused.status_code == 405
    assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
