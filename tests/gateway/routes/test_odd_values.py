"""Odd values in every field: an answer or a refusal, never a fault; and null is as if left out."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from handler.requests.base import _Request
from handler.requests.chat_schema import ChatRequest
from handler.requests.embedding_schema import EmbeddingRequest
from handler.requests.schema import CompletionRequest
from handler.requests.token_schema import DetokenizeRequest, TokenizeRequest
from tests.gateway.conftest import Service, StartService
from tests.gateway.routes.test_chat import pack_talker
from tests.patience import PATIENCE

COMPLETION: dict[str, Any] = {"prompt": "Once upon a time", "max_tokens": 2, "seed": 1}
# Each route, its contract, and a request that holds what has to be there.
ROUTES: dict[str, tuple[type[_Request], dict[str, Any]]] = {
    "/v1/completions": (CompletionRequest, COMPLETION),
    "/v1/chat/completions": (
        ChatRequest,
        {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2, "seed": 1},
    ),
    "/v1/embeddings": (EmbeddingRequest, {"input": "Once upon a time"}),
    "/v1/tokenize": (TokenizeRequest, {"text": "Once"}),
    "/v1/detokenize": (DetokenizeRequest, {"tokens": [5]}),
}
# Texts of JSON: the ends of what C, floats and Python's own readers hold, and a step beyond.
NUMBERS = [
    *("0", "-0.0", "1.0", "-1", "0.5", "5e-324", "1e-400", "1e-46", "2147483648", "4294967301"),
    *("-2147483649", "9223372036854775807", "9223372036854775808", "-9223372036854775809"),
    *("1e30", "1e308", "1e400", "1" + "0" * 400, "1" + "0" * 5000, "NaN"),
]
OTHERS = ["true", '"1"', "[]", "[null]", "[[]]", "[1e30]", "{}", '{"5": 1e30}']
LENGTHS = ("max_tokens", "max_completion_tokens", "max_length")


@pytest.fixture(scope="module")
def talker(start_service: StartService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    folder = tmp_path_factory.mktemp("talker")
    pack_talker(folder)
    return start_service(store=folder, MODEL_NAME="talker", MODEL_ARCHIVE="talker.mar")


def names(contract: type[_Request]) -> list[str]:
    return [field.alias or name for name, field in contract.model_fields.items()]


FIELDS = [(path, name) for path, (contract, _) in ROUTES.items() for name in names(contract)]


@pytest.mark.parametrize(("path", "name"), FIELDS)
def test_no_value_of_a_field_is_a_fault(talker: Service, path: str, name: str) -> None:
    body = {key: value for key, value in ROUTES[path][1].items() if key != name}
    if name in LENGTHS:  # as many as the context holds would be written
        body["stop"] = ["e", "a", " "]
    with requests.Session() as session:
        for value in NUMBERS + OTHERS:
            text = json.dumps(body)[:-1] + f', "{name}": {value}}}'
            headers = {"content-type": "application/json"}
            reply = session.post(talker.url + path, data=text, headers=headers, timeout=PATIENCE)
            assert reply.status_code in (200, 400, 404), (value[:30], reply.text)
            if reply.status_code != 200:
                error = reply.json()["error"]
                assert "should" not in error["message"] and len(error["message"]) < 300, value[:30]


# The longest numbers that Python reads; a product of two it does not write.
HUGE = [
    ("/v1/completions", '{"prompt": ["a", "b"], "n": %s}'),
    ("/v1/completions", '{"prompt": ["a", "b"], "best_of": %s, "max_tokens": 5}'),
    ("/v1/completions", '{"prompt": "a", "min_tokens": 1, "max_tokens": %s, "stop": ["e"]}'),
    ("/v1/completions", '{"prompt": "a", "min_tokens": %s, "max_tokens": 1}'),
    ("/v1/completions", '{"prompt": "a", "max_length": %s, "n": 3}'),
    ("/v1/completions", '{"prompt": [%s]}'),
    ("/v1/completions", '{"prompt": "a", "allowed_token_ids": [%s]}'),
    ("/v1/completions", '{"prompt": "a", "logit_bias": {"%s": 1}}'),
    ("/v1/completions", '{"prompt": "a", "logit_bias": {"5": %s}}'),
    ("/v1/chat/completions", '{"messages": [{"role": "user", "content": "a"}], "n": %s}'),
    ("/v1/embeddings", '{"input": [[%s], [1]]}'),
    ("/generate", '{"inputs": "a", "parameters": {"max_new_tokens": 2, "best_of": %s}}'),
    ("/predictions/talker", '[{"inputs": ["a"], "parameters": {"num_return_sequences": %s}}]'),
    ("/predictions/talker", '{"input": "a", "max_tokens": %s, "n": 5}'),
    ("/v1/models/talker:predict", '{"instances": ["a", "b"], "parameters": {"n": %s}}'),
    (
        "/v2/models/talker/infer",
        '{"inputs": [{"name": "text_input", "shape": [%s], "datatype": "BYTES", "data": ["a"]}]}',
    ),
    ("/v2/models/talker/generate", '{"text_input": "a", "parameters": {"n": %s}}'),
]


@pytest.mark.parametrize("digits", ["9" * 4300, "-" + "9" * 4300, "1e308"], ids=["9", "-9", "1e"])
@pytest.mark.parametrize(("path", "form"), HUGE)
def test_no_number_is_too_long_to_be_refused(
    talker: Service, path: str, form: str, digits: str
) -> None:
    headers = {"content-type": "application/json"}
    reply = talker.post(path, data=form.replace("%s", digits), headers=headers)
    assert reply.status_code in (200, 400), reply.text[:300]
    if reply.status_code == 400:
        assert len(reply.content) < 3000
    if '"max_tokens": %s' in form and not digits.startswith("-") and "min" in form:
        assert reply.status_code == 200, "as many as one likes: the context ends the text"


@pytest.mark.parametrize("path", ROUTES)
def test_null_is_as_if_left_out(talker: Service, path: str) -> None:
    contract, body = ROUTES[path]
    plain = talker.post(path, json=body)
    assert plain.status_code == 200, plain.text
    for name in names(contract):
        if name not in body:
            same = talker.post(path, json={**body, name: None})
            assert same.status_code == 200, (name, same.text)
            for part in ("choices", "data", "tokens", "text"):
                assert same.json().get(part) == plain.json().get(part), name


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        *(({"top_k": most}, {"top_k": 0}) for most in (2**31, 2**32 + 1, 2**63, 10**30)),
        *(({"top_p": least}, {"temperature": 0}) for least in (5e-324, 1e-46, 1e-38)),
        ({"temperature": 5e-324}, {"temperature": 0}),
        ({"min_p": 5e-324}, {"min_p": 0}),
        ({"presence_penalty": 5e-324, "frequency_penalty": -5e-324}, {}),
        ({"model": ""}, {}),
    ],
)
def test_what_an_engine_cannot_hold_means_what_it_says(
    talker: Service, odd: dict[str, Any], plain: dict[str, Any]
) -> None:
    asked = {"max_tokens": 30, "seed": 5, "temperature": 1, "top_p": 1, "repetition_penalty": 1}

    def text(**options: Any) -> str:
        reply = talker.complete(**{**asked, **options})
        assert reply.status_code == 200, reply.text
        return str(reply.json()["choices"][0]["text"])

    assert text(**odd) == text(**plain)
