"""Frames beside the events of a stream: whatever is written and however it is cut, they part."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from gateway.torchserve.process import TorchServe
from handler.content.json_text import to_json
from handler.replies import sideband
from tests.handler.completions import SECRET, TIMEOUT, post, url

texts = st.text(st.characters(exclude_categories=["Cs"]))  # marks and line ends among them
chosen = st.tuples(st.integers(0, 200), st.integers(0, 9), st.lists(st.integers(0, 99_999)), texts)


def written(index: int, sample: int, tokens: list[int], text: str) -> tuple[str, str]:
    """An event and its frame."""
    frame = sideband.frame(sideband.of_choice(index, sample, tokens, "stop", ""))
    return frame, f"data: {to_json({'text': text})}\n\n"


@given(st.lists(chosen, min_size=1, max_size=5), st.data())
def test_events_and_frames_part_whatever_they_hold(
    parts: list[tuple[int, int, list[int], str]], data: st.DataObject
) -> None:
    pairs = [written(*part) for part in parts]
    events, frames = sideband.split("".join(map("".join, pairs)).encode())
    assert events.decode() == "".join(event for _, event in pairs)
    assert [json.loads(frame) for frame in frames] == [
        {"choice": index, "sample": sample, "tokens": tokens, "finish": "stop"}
        for index, sample, tokens, _ in parts
    ]


@given(st.lists(texts))
def test_a_stream_without_frames_stays_as_it_is(parts: list[str]) -> None:
    whole = "".join(f"data: {to_json({'text': text})}\n\n" for text in parts).encode()
    assert sideband.split(whole) == (whole, [])


def test_nothing_but_the_secret_asks_for_frames() -> None:
    assert sideband.is_asked_for("abc", "abc")
    for given_, secret in [("abd", "abc"), ("", "abc"), ("", ""), ("abc", ""), ("ä", "abc")]:
        assert not sideband.is_asked_for(given_, secret)


Frames = list[dict[str, Any]]


def framed(server: TorchServe, **body: Any) -> tuple[Frames, list[dict[str, Any]]]:
    """The frames of a stream and the events beside them, but for its last two."""
    body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    reply = requests.post(
        url(server), json=body, headers={sideband.HEADER: SECRET}, timeout=TIMEOUT
    )
    assert reply.headers["content-type"] == sideband.CONTENT_TYPE
    events, frames = sideband.split(reply.content)
    data = [line.removeprefix(b"data: ") for line in events.split(b"\n\n")[:-1]]
    assert len(data) == len(frames) and data[-1] == b"[DONE]"
    return [json.loads(frame) for frame in frames], [json.loads(each) for each in data[:-2]]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n": 3},
        {"prompt": ["The king", "A ship"], "n": 2},
        {"stop": ["and the", "e."]},
        {"logit_bias": {"0": 4}},
        {"logit_bias": dict.fromkeys(map(str, range(130, 250)), 30)},  # halves of characters
        {"max_tokens": 0},
        {"max_tokens": 1},
    ],
    ids=str,
)
def test_frames_tell_the_tokens_of_every_text_and_how_it_ended(
    framing: TorchServe, options: dict[str, Any]
) -> None:
    body = {"prompt": "The king", "seed": 11, "max_tokens": 40, **options}
    frames, events = framed(framing, **body)
    whole = post(framing, {**body, "logprobs": 0}).json()
    per_prompt = int(options.get("n", 1))
    for choice in whole["choices"]:
        index = choice["index"]
        own = [frame for frame in frames if frame.get("choice") == index]
        shown = [each for event in events for each in event["choices"] if each["index"] == index]
        ids = [token for frame in own for token in frame["tokens"]]
        assert len(ids) == len(choice["logprobs"]["tokens"])
        assert [frame.get("finish") for frame in own] == [c["finish_reason"] for c in shown]
        assert own[-1]["finish"] == choice["finish_reason"]
        assert {frame["sample"] for frame in own} == {index % per_prompt}
        told = post(framing, {"tokens": ids}, "/1.0/v1/detokenize").json()["text"]
        assert told.startswith(choice["text"].rstrip("\N{REPLACEMENT CHARACTER}"))
    assert frames[0]["seed"] == 11 and frames[0]["cut_prompts"] == {}
    assert all("seed" not in frame for frame in frames[1:])
    assert frames[-1]["usage"] | {"prompt_tokens_details": None} == whole["usage"] | {
        "prompt_tokens_details": None
    }
    assert frames[-1]["finish_reasons"] == [c["finish_reason"] for c in whole["choices"]]
    assert frames[-1]["error"] is None


def test_the_first_frame_tells_the_seed_and_what_was_kept_of_a_prompt(framing: TorchServe) -> None:
    long, short = [5 + number % 99 for number in range(700)], [7, 8, 9]
    body = {"prompt": [short, long], "max_tokens": 8, "truncate_prompt": True}
    frames, events = framed(framing, **body)
    assert frames[0]["cut_prompts"] == {"1": long[-504:]}
    again = post(framing, {**body, "seed": frames[0]["seed"]}).json()
    texts = ["".join(c["text"] for e in events for c in e["choices"] if c["index"] == index)
             for index in (0, 1)]  # fmt: skip
    assert [choice["text"] for choice in again["choices"]] == texts


@pytest.mark.parametrize("value", ["", SECRET[:-1], SECRET + "0", SECRET.upper(), "é"])
def test_another_secret_is_a_400(framing: TorchServe, value: str) -> None:
    headers = {sideband.HEADER.upper(): value.encode()}
    reply = requests.post(url(framing), json={"prompt": "x"}, headers=headers, timeout=TIMEOUT)
    assert reply.status_code == 400 and reply.json()["error"]["code"] == "reserved_header"
