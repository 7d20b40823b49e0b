"""Whatever is asked for: the events of a stream add up to the whole reply, and counts are true."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.gateway.conftest import Service

Json = dict[str, Any]
REQUESTS = 120

PROMPTS: list[Any] = [
    "The king",
    "",
    "a\n\nb: usage",
    "naïve \N{FOX FACE}",
    "One.<|endoftext|>Two",
    [0, 5, 9],
    ["A", "B ship"],
]
OPTIONS: dict[str, list[Any]] = {
    "n": [2, 3],
    "echo": [True],
    "logprobs": [0, 1, 5],
    "stop": [["e"], ["and", "."], ["\n"]],
    "logit_bias": [{"0": 3}, {"0": 6}, {"0": 100}],  # the end of the text
    "temperature": [0, 1.5, 2],
    "ignore_eos": [True],
    "skip_special_tokens": [True, False],
    "repetition_penalty": [1.3],
}


def any_request(draw: random.Random) -> Json:
    body = {"prompt": draw.choice(PROMPTS), "max_tokens": draw.choice([0, 1, 5, 30])}
    body["seed"] = draw.randrange(10**6)
    chosen = {name: draw.choice(values) for name, values in OPTIONS.items() if draw.random() < 0.4}
    return body | chosen


def ask(service: Service, body: Json) -> tuple[Json, list[Json]]:
    """The whole reply, and the events of the same as a stream."""
    whole = service.post("/v1/completions", json=body)
    assert whole.status_code == 200, (body, whole.text)
    streamed = body | {"stream": True, "stream_options": {"include_usage": True}}
    *events, done, rest = service.post("/v1/completions", json=streamed).content.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return whole.json(), [json.loads(event.removeprefix(b"data: ")) for event in events]


def check_same(body: Json, whole: Json, events: list[Json]) -> None:
    for key in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert events[-1]["usage"][key] == whole["usage"][key], body
    for choice in whole["choices"]:
        index = choice["index"]
        parts = [part for event in events for part in event["choices"] if part["index"] == index]
        assert "".join(part["text"] for part in parts) == choice["text"], body
        assert parts[-1]["finish_reason"] == choice["finish_reason"], body
        for key, values in (choice["logprobs"] or {}).items():
            assert sum((part["logprobs"][key] for part in parts), []) == values, body


def check_counts(body: Json, whole: Json) -> None:
    """As many log probabilities as tokens in `usage`; an echoed text begins with its prompt."""
    n, usage = body.get("n", 1), whole["usage"]
    scored = 0
    for choice in whole["choices"]:
        prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
        prompt = prompts[min(choice["index"] // n, len(prompts) - 1)]
        if "echo" in body and isinstance(prompt, str):
            assert choice["text"].startswith(prompt), body
        offsets = choice["logprobs"]["text_offset"] if "logprobs" in body else []
        assert offsets == sorted(offsets) and all(at <= len(choice["text"]) for at in offsets), body
        scored += len(offsets)
    if "logprobs" in body:
        echoed = usage["prompt_tokens"] * n if "echo" in body else 0
        assert scored == usage["completion_tokens"] + echoed, body


def test_a_stream_adds_up_to_the_whole_reply_and_its_counts_are_true(service: Service) -> None:
    draw = random.Random(7)
    bodies = [any_request(draw) for _ in range(REQUESTS)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda body: ask(service, body), bodies))
    for body, (whole, events) in zip(bodies, answers, strict=True):
        check_same(body, whole, events)
        check_counts(body, whole)
