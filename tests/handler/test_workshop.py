"""What is long is done beside the steps: with the same texts and statuses, and nobody is lost."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.torchserve.process import TorchServe
from handler.content.json_text import to_json, to_json_in_chunks
from tests.handler.completions import post, stream

ROUTE = "/1.0/v1/completions"
ASKED = {"prompt": "Once upon a time", "seed": 3, "max_tokens": 12}
# An ignored field that makes a body long.
LONG = {"padding": ["x"] * 30_000}
SCORED = {
    "prompt": [list(range(5, 405)), list(range(9, 309))],
    "echo": True,
    "logprobs": 3,
    "seed": 3,
    "max_tokens": 5,
}


def choices(server: TorchServe, body: dict[str, Any]) -> Any:
    reply = post(server, body, ROUTE)
    assert reply.status_code == 200, reply.text[:300]
    return reply.json()["choices"]


def test_a_long_body_gives_the_text_of_a_short_one(torchserve: TorchServe) -> None:
    short = choices(torchserve, ASKED)
    with ThreadPoolExecutor(8) as pool:
        bodies = [ASKED | LONG, ASKED] * 4
        assert list(pool.map(lambda body: choices(torchserve, body), bodies)) == [short] * 8
    events = stream(torchserve, **ASKED, **LONG)
    assert "".join(each["choices"][0]["text"] for each in events[:-1]) == short[0]["text"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"prompt": "x" * 900_000}, "context_length_exceeded"),
        ({"prompt": [5] * 100_000}, "context_length_exceeded"),
        (ASKED | LONG | {"temperature": 3}, "less_than_equal"),
        ({"prompt": "\ud800" * 5000}, "lone_surrogate"),
    ],
    ids=["characters", "ids", "value", "text"],
)
def test_a_long_body_is_refused_with_its_status(
    torchserve: TorchServe, body: dict[str, Any], code: str
) -> None:
    for streamed in (False, True):
        reply = post(torchserve, body | {"stream": streamed}, ROUTE)
        assert reply.status_code == 400
        assert reply.json()["error"]["code"] == code


def test_a_long_reply_is_the_same_whole_and_streamed(torchserve: TorchServe) -> None:
    with ThreadPoolExecutor(4) as pool:
        whole, *others = pool.map(lambda _: choices(torchserve, SCORED), range(4))
    assert others == [whole] * 3
    parts: list[Any] = [[], []]
    for event in stream(torchserve, **SCORED)[:-1]:
        parts[event["choices"][0]["index"]].append(event["choices"][0])
    for choice, pieces in zip(whole, parts, strict=True):
        assert choice["text"] == "".join(piece["text"] for piece in pieces)
        for key, values in choice["logprobs"].items():
            assert values == [value for piece in pieces for value in piece["logprobs"][key]], key
        assert len(choice["logprobs"]["tokens"]) > 300


def test_clients_that_leave_meanwhile_leave_nothing(torchserve: TorchServe) -> None:
    before = choices(torchserve, ASKED)
    body = json.dumps(ASKED | LONG | {"max_tokens": 400, "ignore_eos": True}).encode()
    head = f"POST /predictions/gpt2{ROUTE} HTTP/1.1\r\n"
    head += f"host: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", torchserve.settings.ports.inference)) as made:
            made.sendall(head.encode() + body)
    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(lambda _: choices(torchserve, ASKED), range(32))) == [before] * 32


def test_json_in_pieces_is_json() -> None:
    for value in (choice_like(0), choice_like(63), choice_like(64), choice_like(500), [], {}, "x"):
        assert to_json_in_chunks(value) == to_json(value)


def choice_like(count: int) -> dict[str, Any]:
    top = [None, *({"é": -0.5, "\n": -1e-7} for _ in range(count))]
    return {"id": "x", "choices": [{"index": 0, "logprobs": {"top": top}}, {"logprobs": None}]}
