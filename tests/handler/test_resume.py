"""A stream that was cut off goes on behind what had come, as if nothing had been."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from gateway.torchserve.process import TorchServe
from handler.replies import sideband
from tests.handler.completions import COMPLETIONS, SECRET, TIMEOUT, url

Part = tuple[dict[str, Any], bytes]


def parts_of(server: TorchServe, body: dict[str, Any]) -> list[Part]:
    """The frames of a stream, each with its event."""
    headers = {sideband.HEADER: SECRET}
    reply = requests.post(url(server, COMPLETIONS), json=body, headers=headers, timeout=TIMEOUT)
    assert reply.headers["content-type"] == sideband.CONTENT_TYPE, reply.text
    events, frames = sideband.split(reply.content)
    whole = [event + b"\n\n" for event in events.split(b"\n\n")[:-1]]
    assert len(whole) == len(frames)
    return [(json.loads(frame), event) for frame, event in zip(frames, whole, strict=True)]


def resumed(parts: list[Part]) -> dict[str, Any]:
    """What a gateway knows of a stream of which so much came."""
    first = parts[0][0]
    choices: dict[int, dict[str, Any]] = {}
    for frame, _ in parts:
        known = choices.setdefault(frame["choice"], {"choice": frame["choice"], "tokens": []})
        tokens = known["tokens"] + frame["tokens"]
        known.update({**frame, "tokens": tokens})
    return {
        "id": first["id"],
        "created": first["created"],
        "seed": first["seed"],
        "choices": list(choices.values()),
    }


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"seed": None, "temperature": 1.0},
        {"n": 3, "stream_options": {"include_usage": True}},
        {"prompt": ["The king", "A ship"], "n": 2, "max_tokens": 8},
        {"logprobs": 2},
        {"logprobs": 1, "stop": ["qqqqqqqqqqqqqqqqqqqqqqqq", "and the sea", "e."], "n": 2},
        {"echo": True, "logprobs": 1, "n": 2, "max_tokens": 6},
        {"echo": True},
        {"repetition_penalty": 1.5, "frequency_penalty": 0.5, "presence_penalty": 0.5},
        {"min_tokens": 10, "logit_bias": {"0": 4}},
        {"logit_bias": dict.fromkeys(map(str, range(130, 250)), 30)},  # halves of characters
        {"stop": [" the", ". ", "qqq"]},
        {"skip_special_tokens": False, "logit_bias": {"0": 3}, "ignore_eos": True},
        {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
        {"guided_regex": "( [a-z]{2,9}){3,6}[.!]", "n": 2, "temperature": 1.5},
    ],
    ids=str,
)
def test_wherever_a_stream_is_cut_the_rest_is_the_same_bytes(
    framing: TorchServe, options: dict[str, Any]
) -> None:
    body = {"prompt": "The king", "seed": 11, "max_tokens": 14, "stream": True, **options}
    parts = parts_of(framing, body)
    ends = sum("choice" not in frame for frame, _ in parts)  # usage and [DONE]
    for cut in range(1, len(parts) - ends + 1):
        again = parts_of(framing, {**body, sideband.RESUME: resumed(parts[:cut])})
        got = b"".join(event for _, event in parts[:cut] + again)
        assert by_choice(got) == by_choice(b"".join(event for _, event in parts)), cut
        assert last_usage(again) == last_usage(parts)


def by_choice(stream: bytes) -> dict[int, list[Any]]:
    """The events of each choice; between choices their order depends on time."""
    found: dict[int, list[Any]] = {}
    for event in stream.split(b"\n\n")[:-1]:
        if event == b"data: [DONE]":
            continue
        value = json.loads(event.removeprefix(b"data: "))
        if value.get("usage"):
            value["usage"] = None  # between choices, too
        for choice in value["choices"]:
            found.setdefault(choice["index"], []).append({**value, "choices": [choice]})
    return found


def last_usage(parts: list[Part]) -> Any:
    usage = parts[-1][0]["usage"]
    return {**usage, "prompt_tokens_details": None}, parts[-1][0]["finish_reasons"]


def test_nobody_but_the_gateway_resumes_a_stream(framing: TorchServe) -> None:
    body = {"prompt": "The king", "seed": 11, "max_tokens": 5, "stream": True}
    plain = requests.post(url(framing, COMPLETIONS), json=body, timeout=TIMEOUT).text
    resume = {"id": "x", "created": 1, "seed": 2, "choices": []}
    asked = {**body, sideband.RESUME: resume}
    reply = requests.post(url(framing, COMPLETIONS), json=asked, timeout=TIMEOUT)
    assert reply.headers["x-ignored-fields"] == sideband.RESUME
    assert texts(reply.text) == texts(plain)


def texts(stream: str) -> str:
    events = [line[6:] for line in stream.splitlines() if line.startswith("data: {")]
    return "".join(json.loads(event)["choices"][0]["text"] for event in events)
