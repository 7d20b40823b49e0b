"""The handler in a real TorchServe, driven over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
import requests

from gateway.torchserve.process import TorchServe
from tests.handler.completions import (
    COMPLETIONS,
    LEFT,
    TIMEOUT,
    events,
    metric,
    post,
    stream,
    text,
    url,
    worker_of,
)
from tests.patience import wait_until


def test_a_plain_request_gets_a_completion_object(torchserve: TorchServe) -> None:
    body = post(torchserve, {"input": "Once upon a time", "seed": 1}).json()
    assert body["object"] == "text_completion"
    assert body["model"] == "gpt2"
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 20
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + 20


def test_a_stream_gives_the_same_text_and_ends_with_done(torchserve: TorchServe) -> None:
    options = {"prompt": "The old captain", "seed": 5, "max_tokens": 30}
    got = stream(torchserve, **options, stream_options={"include_usage": True})
    assert got[-1] == "[DONE]"
    assert got[-2]["choices"] == []
    assert got[-2]["usage"]["completion_tokens"] == 30
    pieces = [event["choices"][0]["text"] for event in got[:-2]]
    assert len(pieces) > 10
    assert "".join(pieces) == text(torchserve, **options)
    assert got[-3]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_a_stream_of_at_most_one_token_comes_whole(torchserve: TorchServe, max_tokens: int) -> None:
    got = stream(torchserve, prompt="The", max_tokens=max_tokens)
    assert got[-1] == "[DONE]"
    assert got[-2]["choices"][0]["finish_reason"] == "length"


def test_streamed_text_never_holds_half_a_character_or_part_of_a_stop_string(
    torchserve: TorchServe,
) -> None:
    reply = post(torchserve, {"text": "é→漢🙂"}, "/1.0/v1/tokenize").json()
    assert reply["count"] > 4
    bias = {str(token): 100 for token in reply["tokens"]}
    for seed in range(5):
        got = stream(torchserve, prompt="x", seed=seed, max_tokens=40, logit_bias=bias,
                     temperature=2.0, stop=["漢"])  # fmt: skip
        whole = text(torchserve, prompt="x", seed=seed, max_tokens=40, logit_bias=bias,
                     temperature=2.0, stop=["漢"])  # fmt: skip
        assert "".join(e["choices"][0]["text"] for e in got[:-1]) == whole
        assert "漢" not in whole


def test_text_in_gives_text_out(torchserve: TorchServe) -> None:
    response = requests.put(url(torchserve), data=b"Once upon a time", timeout=TIMEOUT)
    assert response.headers["content-type"].startswith("text/plain")
    assert len(response.text) > 10


@pytest.mark.parametrize(
    ("prompt", "texts"), [(["The", "A"], 2), ([5, 6, 7], 1), ([[5, 6], [7]], 2), ("", 1)]
)
def test_a_prompt_may_be_texts_or_token_ids_or_empty(
    torchserve: TorchServe, prompt: Any, texts: int
) -> None:
    asked = {"prompt": prompt, "n": 2, "max_tokens": 3}
    body = post(torchserve, asked, COMPLETIONS).json()
    assert [choice["index"] for choice in body["choices"]] == list(range(2 * texts))


def test_tokens_go_to_text_and_back(torchserve: TorchServe) -> None:
    words = 'The "old" fox — naïve, 漢字 🙂\n\n  end'
    tokens = post(torchserve, {"text": words}, "/1.0/v1/tokenize").json()
    back = post(torchserve, {"tokens": tokens["tokens"]}, "/1.0/v1/detokenize").json()
    assert back["text"] == words


def test_models_says_what_is_loaded(torchserve: TorchServe) -> None:
    reply = requests.get(url(torchserve, "/1.0/v1/models"), timeout=TIMEOUT).json()
    card = reply["data"][0]
    assert card["id"] == "gpt2"
    assert card["context_length"] == 512
    assert card["defaults"]["max_tokens"] == 20
    assert card["examples"]


def test_echo_with_no_tokens_scores_the_prompt(torchserve: TorchServe) -> None:
    body = {"prompt": "Once upon a time", "echo": True, "logprobs": 3, "max_tokens": 0}
    choice = post(torchserve, body).json()["choices"][0]
    logprobs = choice["logprobs"]
    assert choice["text"] == "".join(logprobs["tokens"]) == "Once upon a time"
    assert logprobs["token_logprobs"][0] is None
    assert all(value < 0 for value in logprobs["token_logprobs"][1:])
    assert {len(top) for top in logprobs["top_logprobs"][1:]} <= {3, 4}  # and the token itself


def test_offsets_of_scored_tokens_point_at_their_characters(torchserve: TorchServe) -> None:
    prompt = "a 🙂 b漢 c"
    body = {"prompt": prompt, "echo": True, "logprobs": 1, "max_tokens": 4}
    choice = post(torchserve, body).json()["choices"][0]
    offsets = choice["logprobs"]["text_offset"]
    assert offsets == sorted(offsets)
    for token, offset in zip(choice["logprobs"]["tokens"], offsets, strict=True):
        if not token.startswith("bytes:"):
            assert choice["text"][offset:].startswith(token)
    for token, top in zip(
        choice["logprobs"]["tokens"][1:], choice["logprobs"]["top_logprobs"][1:], strict=True
    ):
        assert token in top and len(top) <= 2


def test_the_longest_text_to_tokenize_hardly_stops_a_stream(torchserve: TorchServe) -> None:
    """Told by the processor time that it takes its worker, whoever else wants the processor."""
    worker = worker_of(torchserve)
    before = sum(worker.cpu_times()[:2])
    worst = {"text": "\U0001f642" * 16_384}
    assert post(torchserve, worst, "/1.0/v1/tokenize").status_code == 200
    # A quarter of a second here; it took 20 s where text had no bound.
    assert sum(worker.cpu_times()[:2]) - before < 3
    longer = {"text": "x" * 65_537}
    refused = post(torchserve, longer, "/1.0/v1/tokenize")
    assert refused.status_code == 400
    assert "65537 bytes" in refused.json()["error"]["message"]


def test_an_empty_prompt_goes_on_from_the_end_of_text(torchserve: TorchServe) -> None:
    options = {"seed": 4, "max_tokens": 8}
    assert text(torchserve, prompt="", **options) == text(torchserve, prompt=[0], **options)


def test_eight_texts_of_one_prompt_beside_others(torchserve: TorchServe) -> None:
    body = {"prompt": "The king", "n": 8, "seed": 3, "max_tokens": 12}
    alone = [choice["text"] for choice in post(torchserve, body).json()["choices"]]
    with ThreadPoolExecutor(5) as pool:
        others = [pool.submit(text, torchserve, prompt=f"{i} ships") for i in range(4)]
        together = [choice["text"] for choice in post(torchserve, body).json()["choices"]]
        assert all(other.result() for other in others)
    assert together == alone
    assert len(set(alone)) > 1
    assert alone[0] == text(torchserve, prompt="The king", seed=3, max_tokens=12)


def test_a_client_that_leaves_frees_its_place(torchserve: TorchServe) -> None:
    body = {"prompt": "Once", "stream": True, "max_tokens": 480, "n": 8, "ignore_eos": True}
    before = metric(torchserve, LEFT)
    for _ in range(6):  # 48 texts: more than there are slots
        with closing(
            requests.post(url(torchserve), json=body, stream=True, timeout=TIMEOUT)
        ) as response:
            next(events(response))
    assert text(torchserve, prompt="The", max_tokens=2)
    # Who left is not written for to the end.
    wait_until(lambda: metric(torchserve, LEFT) >= before + 6)
