"""What the handler refuses, and that its neighbours do not feel it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from gateway.torchserve.process import TorchServe
from tests.conftest import EMBEDDED_VOCABULARY
from tests.handler.completions import TIMEOUT, post, stream, url

BAD = {
    "temperature": {"prompt": "x", "temperature": 3},
    "max_tokens": {"prompt": "x", "max_tokens": "5"},
    "prompt": {"prompt": 5},
    "n": {"prompt": "x", "n": 97},
    "best_of": {"prompt": ["x", "y"], "best_of": 49},
    "stop": {"prompt": "x", "stop": ["a"] * 17},
    "logit_bias": {"prompt": "x", "logit_bias": {"999999": 1}},
    "logprobs": {"prompt": "x", "logprobs": 21},
}


@pytest.mark.parametrize(("field", "body"), BAD.items(), ids=BAD)
def test_a_bad_value_is_a_400_that_names_the_field(
    torchserve: TorchServe, field: str, body: Any
) -> None:
    response = post(torchserve, body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == field
    assert field in error["message"]
    assert error["type"] == "invalid_request_error"


RAW = {
    "not json": b"{",
    "nan": b'{"prompt": "x", "temperature": NaN}',
    "not utf-8": b'{"prompt": "\xff"}',
    "lone surrogate": b'{"prompt": "\\ud800"}',
    "deep": b'{"prompt":' + b"[" * 100_000,
    "huge number": b'{"seed": ' + b"9" * 5_000 + b"}",
    "unknown token": b'{"prompt": [%d]}' % EMBEDDED_VOCABULARY,
    "empty": b"",
    "a list": b"[]",
}


@pytest.mark.parametrize("body", RAW.values(), ids=RAW)
def test_a_body_that_is_no_request_is_a_400(torchserve: TorchServe, body: bytes) -> None:
    response = requests.post(
        url(torchserve), data=body, headers={"Content-Type": "application/json"}, timeout=TIMEOUT
    )
    assert response.status_code == 400
    assert response.json()["error"]["message"]
    assert "Traceback" not in response.text


def test_a_prompt_beyond_the_context_says_both_numbers_unless_truncated(
    torchserve: TorchServe,
) -> None:
    response = post(torchserve, {"prompt": [5] * 600})
    assert response.status_code == 400
    assert "600 tokens" in response.json()["error"]["message"]
    assert "512" in response.json()["error"]["message"]
    cut = {"prompt": [5] * 600, "truncate_prompt": True, "ignore_eos": True}
    body = post(torchserve, cut).json()
    assert body["usage"] | {"prompt_tokens_details": None} == {
        "prompt_tokens": 492,
        "completion_tokens": 20,
        "total_tokens": 512,
        "prompt_tokens_details": None,
    }


def test_bad_requests_among_good_ones_disturb_nobody(torchserve: TorchServe) -> None:
    good = [
        {"prompt": f"{word} was", "seed": seed, "max_tokens": 10 + seed, "stream": seed % 2 == 0}
        for seed, word in enumerate(["The king", "It", "A ship", "Once it"] * 3)
    ]
    bad = [{"prompt": 5}, {"temperature": 9}, {"prompt": [9999]}, {"n": 0}]

    def ask(body: dict[str, Any]) -> str | int:
        if body.get("stream"):
            got = stream(torchserve, **body)
            return "".join(e["choices"][0]["text"] for e in got[:-1])
        response = post(torchserve, body)
        if response.status_code != 200:
            return response.status_code
        return str(response.json()["choices"][0]["text"])

    alone = [ask(body) for body in good]
    mixed = good[:6] + bad[:2] + good[6:] + bad[2:]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(ask, mixed))
    assert [t for t in together if t != 400] == alone
    assert together.count(400) == 4


def test_many_long_prompts_in_one_request_are_refused(torchserve: TorchServe) -> None:
    body = {"prompt": ["\U0001f642" * 10_000] * 10, "truncate_prompt": True}
    response = post(torchserve, body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "prompts_too_long"


def test_json_sent_as_a_form_is_told_which_header_it_needs(torchserve: TorchServe) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    response = requests.post(url(torchserve), data='{"prompt": "x"}', headers=form, timeout=TIMEOUT)
    assert response.status_code == 400
    assert "Content-Type: application/json" in response.json()["error"]["message"]
