"""Which of the model's defaults apply to which request; the embedded model penalises repetition."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from gateway.torchserve.process import TorchServe
from tests.handler.completions import TIMEOUT, post, text, url

PROMPT = {"prompt": "The king and the king and the", "max_tokens": 60, "ignore_eos": True}
LIKELIEST = [{"temperature": 0}, {"temperature": 1e-6}, {"top_k": 1}, {"top_p": 0}, {"min_p": 1}]


def defaults(server: TorchServe) -> dict[str, Any]:
    card = requests.get(url(server, "/1.0/v1/models"), timeout=TIMEOUT).json()["data"][0]
    assert "temperature 0" in card["defaults_rule"]
    return dict(card["defaults"])


@pytest.mark.parametrize("options", LIKELIEST, ids=str)
def test_who_asks_for_the_likeliest_token_gets_it(
    torchserve: TorchServe, options: dict[str, Any]
) -> None:
    assert defaults(torchserve)["repetition_penalty"] != 1
    choice = post(torchserve, {**PROMPT, **options, "logprobs": 1}).json()["choices"][0]
    for token, top in zip(
        choice["logprobs"]["tokens"], choice["logprobs"]["top_logprobs"], strict=True
    ):
        assert list(top) == [token]  # a token that is not the likeliest would be there besides


@pytest.mark.parametrize("options", LIKELIEST, ids=str)
@pytest.mark.parametrize(
    "penalty", [{"repetition_penalty": 1.5}, {"frequency_penalty": 2}, {"logit_bias": {"9": 100}}]
)
def test_what_the_request_itself_says_counts_all_the_same(
    torchserve: TorchServe, options: dict[str, Any], penalty: dict[str, Any]
) -> None:
    penalised = text(torchserve, **PROMPT, **options, **penalty)
    assert penalised != text(torchserve, **PROMPT, **options)
    assert penalised == text(torchserve, **PROMPT, temperature=0, **penalty)


def test_who_leaves_sampling_to_the_model_gets_its_defaults(torchserve: TorchServe) -> None:
    given = defaults(torchserve)
    del given["max_tokens"]
    plain = text(torchserve, **PROMPT, seed=1)
    assert plain == text(torchserve, **PROMPT, seed=1, **given)
    without = text(torchserve, **PROMPT, seed=1, **given | {"repetition_penalty": 1})
    assert plain != without
    assert text(torchserve, **PROMPT, seed=1, temperature=given["temperature"]) == plain
