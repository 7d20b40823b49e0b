"""What requests may say to a bare TorchServe, and what they get for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway.torchserve.process import TorchServe
from handler.replies import sideband
from tests.conftest import running_torchserve
from tests.gateway.conftest import change_archive
from tests.handler.completions import COMPLETIONS, TIMEOUT, post, stream, text, url

GREEDY = {"prompt": "The king", "max_tokens": 6, "temperature": 0}


@pytest.mark.parametrize(
    "options",
    [
        {"top_p": 0},
        {"top_k": 1},
        {"top_k": 1.0, "temperature": 2},
        {"min_p": 1},
        {"temperature": 0, "top_k": -1},
        {"temperature": 0, "top_p": None, "seed": None, "stop": None, "logit_bias": None},
        {"temperature": 0, "suffix": "", "user": None, "stream_options": None, "input": None},
        {"temperature": 0, "stop": ["\x00"] * 16, "stream_options": {}},
        {"temperature": 0, "max_tokens": 6.0, "n": 1.0, "seed": 7.0},
        {"temperature": 0, "best_of": 3},
        {"temperature": 0, "logit_bias": dict.fromkeys(map(str, range(7552)), 1)},
        {"temperature": 0, "truncate_prompt_tokens": -1},
    ],
    ids=str,
)
def test_what_peers_take_is_taken(torchserve: TorchServe, options: dict[str, Any]) -> None:
    body = {key: value for key, value in GREEDY.items() if key != "temperature"} | options
    assert text(torchserve, **body) == text(torchserve, **GREEDY)


@pytest.mark.parametrize("prompt", [[5.0, 6.0], [[5, 6.0]]])
def test_token_ids_may_be_whole_floats(torchserve: TorchServe, prompt: Any) -> None:
    assert text(torchserve, **GREEDY | {"prompt": prompt}) == text(
        torchserve, **GREEDY | {"prompt": [5, 6]}
    )


def test_a_prompt_that_is_null_is_an_empty_one(torchserve: TorchServe) -> None:
    assert text(torchserve, **GREEDY | {"prompt": None}) == text(
        torchserve, **GREEDY | {"prompt": ""}
    )


def test_more_texts_than_slots_are_queued(torchserve: TorchServe) -> None:
    prompts = [f"{number} ships" for number in range(20)]
    options = {"seed": 3, "max_tokens": 3, "n": 2}
    choices = post(torchserve, {"prompt": prompts, **options}).json()["choices"]
    assert [choice["index"] for choice in choices] == list(range(40))
    alone = post(torchserve, {"prompt": prompts[19], **options}).json()["choices"]
    assert [c["text"] for c in choices[38:]] == [c["text"] for c in alone]


@pytest.mark.parametrize("options", [{"n": 97}, {"best_of": 10**4299, "prompt": ["a"] * 90}])
def test_more_texts_than_the_engine_holds_are_refused(
    torchserve: TorchServe, options: dict[str, Any]
) -> None:
    reply = post(torchserve, {"prompt": "a"} | options)
    assert reply.status_code == 400 and "at most 96 are allowed" in reply.json()["error"]["message"]


def test_the_best_of_several_are_the_likeliest_best_first(torchserve: TorchServe) -> None:
    options = {"prompt": ["The king", "A ship"], "seed": 3, "max_tokens": 8, "logprobs": 0}
    every = post(torchserve, {**options, "n": 6}).json()
    best = post(torchserve, {**options, "n": 2, "best_of": 6}).json()

    def mean(choice: dict[str, Any]) -> float:
        values = choice["logprobs"]["token_logprobs"]
        return float(sum(values) / len(values))

    wanted = []
    for prompt in (every["choices"][:6], every["choices"][6:]):
        wanted += [c["text"] for c in sorted(prompt, key=mean, reverse=True)[:2]]
    assert [choice["text"] for choice in best["choices"]] == wanted
    assert [choice["index"] for choice in best["choices"]] == [0, 1, 2, 3]
    assert best["usage"]["completion_tokens"] == every["usage"]["completion_tokens"]
    silent = post(torchserve, {**options, "n": 2, "best_of": 6, "logprobs": None}).json()
    assert [choice["text"] for choice in silent["choices"]] == wanted
    assert {choice["logprobs"] for choice in silent["choices"]} == {None}


def raw_stream(server: TorchServe, **body: Any) -> requests.Response:
    return requests.post(url(server), json={**body, "stream": True}, timeout=TIMEOUT)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n": 3},
        {"echo": True, "logprobs": 2},
        {"stream_options": {"include_usage": True}},
        {"max_tokens": 0},
        {"prompt": ": usage\n\n: \x1e{}\n\ndata: [DONE]\n\n", "echo": True},
    ],
)
def test_a_stream_is_events_and_nothing_else(
    torchserve: TorchServe, options: dict[str, Any]
) -> None:
    """Every event is one line `data: ` and a blank one: what the oldest readers can read."""
    body = raw_stream(torchserve, **{"prompt": "The king", "max_tokens": 12} | options).content
    *events, rest = body.split(b"\n\n")
    assert rest == b"" and events[-1] == b"data: [DONE]"
    for event in events[:-1]:
        assert event.startswith(b"data: {") and b"\n" not in event and b"\r" not in event
        assert "choices" in json.loads(event[6:])


@pytest.mark.parametrize("options", [{}, {"include_usage": None}, {"include_usage": False},
                                     {"include_obfuscation": True}])  # fmt: skip
def test_without_being_asked_no_event_has_usage(
    torchserve: TorchServe, options: dict[str, Any]
) -> None:
    got = stream(torchserve, prompt="The", max_tokens=3, stream_options=options)
    assert len(got) == 4 and all("usage" not in event for event in got[:-1])


@pytest.mark.parametrize("continuous", [False, True])
def test_usage_is_in_every_event_where_it_was_asked_for(
    torchserve: TorchServe, continuous: bool
) -> None:
    options = {"include_usage": True, "continuous_usage_stats": continuous}
    got = stream(torchserve, prompt="The", max_tokens=3, ignore_eos=True, stream_options=options)
    *events, last, done = got
    assert done == "[DONE]" and last["choices"] == [] and last["usage"]["completion_tokens"] == 3
    counts = [event["usage"] and event["usage"]["completion_tokens"] for event in events]
    assert counts == ([1, 2, 3] if continuous else [None, None, None])


@pytest.mark.parametrize("stream", [False, True])
def test_ignored_fields_are_named_in_a_header(torchserve: TorchServe, stream: bool) -> None:
    body = {"prompt": "x", "max_tokens": 1, "stream": stream, "best\r\nx-evil: 1": 1, "é": 2}
    reply = post(torchserve, body)
    assert reply.status_code == 200
    assert reply.headers["x-ignored-fields"] == "best%0D%0Ax-evil%3A%201,%C3%A9"
    assert "x-evil" not in reply.headers
    assert "x-ignored-fields" not in post(torchserve, {"prompt": "x", "max_tokens": 1}).headers
    asked = post(torchserve, {"text": "x", "colour": "red"}, "/1.0/v1/tokenize")
    assert asked.headers["x-ignored-fields"] == "colour"


@pytest.mark.parametrize("route", ["", "/1.0/v1/tokenize"])
def test_nobody_but_the_gateway_may_ask_for_frames(torchserve: TorchServe, route: str) -> None:
    for value in ("", "1", "0" * 32):
        reply = requests.post(
            url(torchserve, route),
            json={"prompt": "x", "stream": True},
            headers={sideband.HEADER.title(): value},
            timeout=TIMEOUT,
        )
        assert reply.status_code == 400 and reply.json()["error"]["code"] == "reserved_header"


# Log probabilities


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"logit_bias": {"0": 100}},  # the end of the text, at once
        {"logit_bias": {"0": 4.0}, "seed": 5, "max_tokens": 60},
        {"logit_bias": {"0": 6.0}, "seed": 5, "ignore_eos": True},
        {"logit_bias": {"0": 6.0}, "seed": 5, "skip_special_tokens": False, "ignore_eos": True},
        {"stop": ["e"], "max_tokens": 60},
        {"stop": ["and the", "."], "max_tokens": 60},
        {"max_tokens": 7},
        {"max_tokens": 0},
        {"prompt": "", "max_tokens": 3},
        {"prompt": "One.<|endoftext|>Two", "max_tokens": 3},
        {"prompt": "naïve 🦊 漢", "max_tokens": 3},
        {"prompt": [0, 5, 0, 6], "max_tokens": 3},
    ],
    ids=str,
)
def test_as_many_log_probabilities_as_tokens_are_counted(
    torchserve: TorchServe, options: dict[str, Any], streamed: bool
) -> None:
    body: dict[str, Any] = {"prompt": "The king", "echo": True, "logprobs": 1} | options
    if streamed:
        events = stream(torchserve, **body, stream_options={"include_usage": True})
        usage = events[-2]["usage"]
        choices = [event["choices"][0] for event in events[:-2]]
    else:
        reply = post(torchserve, body, COMPLETIONS).json()
        usage, choices = reply["usage"], reply["choices"]
    whole = "".join(choice["text"] for choice in choices)
    offsets = [at for choice in choices for at in choice["logprobs"]["text_offset"]]
    for key in ("tokens", "token_logprobs", "top_logprobs"):
        assert sum(len(choice["logprobs"][key]) for choice in choices) == usage["total_tokens"]
    assert len(offsets) == usage["total_tokens"]
    assert offsets == sorted(offsets) and offsets[0] >= 0 and offsets[-1] <= len(whole)
    if isinstance(body["prompt"], str):
        assert whole.startswith(body["prompt"])


@pytest.mark.parametrize(
    ("skip", "shown"), [(None, "<|endoftext|>One"), (False, "<|endoftext|>One"), (True, "One")]
)
def test_special_tokens_of_a_prompt_of_ids_are_echoed(
    torchserve: TorchServe, skip: bool | None, shown: str
) -> None:
    ids = post(torchserve, {"text": "One"}, "/1.0/v1/tokenize").json()["tokens"]
    body = {"prompt": [0, *ids], "echo": True, "max_tokens": 0, "skip_special_tokens": skip}
    assert text(torchserve, **body) == shown


def test_a_generated_end_of_text_is_scored(torchserve: TorchServe) -> None:
    body = {"prompt": "The king", "logprobs": 0, "logit_bias": {"0": 100}}
    choice = post(torchserve, body).json()["choices"][0]
    assert choice["finish_reason"] == "stop" and choice["text"] == ""
    assert choice["logprobs"]["tokens"] == ["<|endoftext|>"]
    assert choice["logprobs"]["token_logprobs"][0] < 0


def test_a_text_that_ran_out_of_time_has_as_many_too(model_store: Path, tmp_path: Path) -> None:
    deadline = ("deadline_seconds: 120", "deadline_seconds: 0.01")
    change_archive(model_store / "gpt2.mar", tmp_path / "gpt2.mar", "model-config.yaml", *deadline)
    with running_torchserve(tmp_path) as server:
        body = {"prompt": "the day " * 200, "echo": True, "logprobs": 1, "max_tokens": 90}
        reply = post(server, body).json()
    choice, usage = reply["choices"][0], reply["usage"]
    assert choice["finish_reason"] == "length" and usage["completion_tokens"] < 90
    assert len(choice["logprobs"]["tokens"]) == usage["total_tokens"]
    assert choice["text"].startswith(body["prompt"])


# Prompts that are cut


@pytest.mark.parametrize(
    ("ids", "max_tokens", "kept"),
    [
        (510, 600, 510),  # fits: nothing is cut for what is to be written
        (511, 20, 511),
        (512, 0, 512),
        (513, 0, 512),
        (512, 1, 511),
        (512, 20, 492),
        (700, 20, 492),
        (700, 600, 384),  # never more than a quarter of the context for what is to be written
    ],
)
def test_only_what_does_not_fit_is_cut(
    torchserve: TorchServe, ids: int, max_tokens: int, kept: int
) -> None:
    prompt = [5 + number % 200 for number in range(ids)]
    options = {"max_tokens": max_tokens, "ignore_eos": True, "echo": True, "logprobs": 0}
    reply = post(torchserve, {"prompt": prompt, "truncate_prompt": True, **options}).json()
    usage = reply["usage"]
    assert usage["prompt_tokens"] == kept
    assert usage["prompt_tokens_details"]["truncated_tokens"] == ids - kept
    assert usage["completion_tokens"] == min(max_tokens, 512 - kept)
    tail = {"prompt": prompt[-kept:], **options, "max_tokens": 0}
    scored = post(torchserve, tail).json()["choices"][0]["logprobs"]["tokens"]
    assert reply["choices"][0]["logprobs"]["tokens"][:kept] == scored


def test_the_end_of_a_prompt_may_be_asked_for(torchserve: TorchServe) -> None:
    whole = {"prompt": [5, 6, 7, 8, 9], "max_tokens": 0, "echo": True}
    cut = post(torchserve, {**whole, "truncate_prompt_tokens": 2}).json()
    assert cut["choices"][0]["text"] == text(torchserve, **whole | {"prompt": [8, 9]})
    assert cut["usage"]["prompt_tokens_details"]["truncated_tokens"] == 3


def test_characters_that_are_not_even_read_are_told(torchserve: TorchServe) -> None:
    prompt = "a long way " * 5000
    reply = post(torchserve, {"prompt": prompt, "truncate_prompt": True, "max_tokens": 1}).json()
    details = reply["usage"]["prompt_tokens_details"]
    assert details["unread_characters"] == len(prompt) - 64 * 512
    assert details["truncated_tokens"] > 0
