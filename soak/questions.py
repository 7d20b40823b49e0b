"""The mixed requests of a soak, drawn from a seed. Each has a seed of its own, so one reply."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

BEGINNINGS = (
    "Once upon a time",
    "The old captain",
    "The fox said to the crow",
    "It was a dark night, and",
    "In a small house by the sea",
    "The king had three daughters",
    "Nobody knew why the bell",
    "She opened the letter and",
)
COMPLETIONS, CHATS, PREDICTIONS = (
    "/v1/completions",
    "/v1/chat/completions",
    "/predictions/gpt2",
)


@dataclass(frozen=True)
class Question:
    """One request. `kind`: what is mixed in; `body`: its JSON."""

    kind: str
    path: str
    body: dict[str, Any]

    @property
    def is_stream(self) -> bool:
        """Whether its reply comes as events."""
        return bool(self.body.get("stream"))


Draw = Callable[[random.Random], tuple[str, dict[str, Any]]]


def _prompt(rng: random.Random) -> str:
    return " ".join(rng.sample(BEGINNINGS, rng.randint(1, 4)))


def _written(rng: random.Random, most: int = 120) -> dict[str, Any]:
    """What every completion is drawn with."""
    return {
        "prompt": _prompt(rng),
        "seed": rng.getrandbits(31),
        "max_tokens": rng.randint(4, most),
        "temperature": rng.choice([0, 0.7, 1.0]),
        "ignore_eos": rng.random() < 0.5,
    }


def _whole(rng: random.Random) -> tuple[str, dict[str, Any]]:
    return COMPLETIONS, _written(rng)


def _several(rng: random.Random) -> tuple[str, dict[str, Any]]:
    return COMPLETIONS, _written(rng, 60) | {"n": rng.randint(2, 4)}


def _logprobs(rng: random.Random) -> tuple[str, dict[str, Any]]:
    return COMPLETIONS, _written(rng, 60) | {"logprobs": rng.randint(0, 5)}


def _penalties(rng: random.Random) -> tuple[str, dict[str, Any]]:
    penalties = {"repetition_penalty": 1.3, "presence_penalty": 0.5, "frequency_penalty": 0.5}
    return COMPLETIONS, _written(rng) | penalties


def _echo(rng: random.Random) -> tuple[str, dict[str, Any]]:
    return COMPLETIONS, _written(rng, 40) | {"echo": True, "logprobs": rng.choice([None, 1])}


def _stop(rng: random.Random) -> tuple[str, dict[str, Any]]:
    ends = {"stop": [rng.choice([" the", ".", " and", "e"])], "min_tokens": rng.randint(0, 3)}
    return COMPLETIONS, _written(rng) | ends


def _batch(rng: random.Random) -> tuple[str, dict[str, Any]]:
    return COMPLETIONS, _written(rng, 40) | {"prompt": [_prompt(rng) for _ in range(3)]}


def _bias(rng: random.Random) -> tuple[str, dict[str, Any]]:
    bias = {str(rng.randint(5, 4000)): rng.choice([-100, -2, 2, 5]) for _ in range(20)}
    return COMPLETIONS, _written(rng) | {"logit_bias": bias}


def _chat(rng: random.Random) -> tuple[str, dict[str, Any]]:
    asked = _written(rng, 60)
    most = asked.pop("max_tokens")
    talk = [{"role": "user", "content": asked.pop("prompt")}]
    more = {"logprobs": True, "top_logprobs": 2} if rng.random() < 0.3 else {}
    return CHATS, asked | {"messages": talk, "max_completion_tokens": most} | more


def _long(rng: random.Random) -> tuple[str, dict[str, Any]]:
    return COMPLETIONS, _written(rng) | {"max_tokens": 300, "ignore_eos": True}


def _prediction(rng: random.Random) -> tuple[str, dict[str, Any]]:
    asked = _written(rng, 60)
    return PREDICTIONS, {"data": asked.pop("prompt"), **asked}


def _hugging_face(rng: random.Random) -> tuple[str, dict[str, Any]]:
    parameters = {
        "max_new_tokens": rng.randint(4, 60),
        "seed": rng.getrandbits(31),
        "details": True,
    }
    return PREDICTIONS, {"inputs": _prompt(rng), "parameters": parameters}


def _tokens(rng: random.Random) -> tuple[str, dict[str, Any]]:
    return "/v1/tokenize", {"text": _prompt(rng)}


KINDS: dict[str, Draw] = {
    "whole": _whole,
    "n": _several,
    "logprobs": _logprobs,
    "penalties": _penalties,
    "echo": _echo,
    "stop": _stop,
    "batch": _batch,
    "bias": _bias,
    "chat": _chat,
    "long": _long,
    "prediction": _prediction,
    "hugging face": _hugging_face,
    "tokenize": _tokens,
}
# These are streamed, too.
STREAMED = (
    *("whole", "n", "logprobs", "penalties", "echo", "stop", "batch", "bias", "chat", "long"),
    "hugging face",
)


def draw(seed: int, of_each: int) -> list[Question]:
    """Draw so many questions of each kind, and of each streamed one besides."""
    rng = random.Random(seed)
    found = []
    for kind, make in KINDS.items():
        for _ in range(of_each):
            found.append(Question(kind, *make(rng)))
    for kind in STREAMED:
        for _ in range(of_each):
            path, body = KINDS[kind](rng)
            usage = rng.random() < 0.5 and kind != "hugging face"
            more = {"stream_options": {"include_usage": True}} if usage else {}
            found.append(Question(f"{kind}, streamed", path, body | {"stream": True} | more))
    return found
