"""The bombs: requests of few bytes or much work, each with the status that answers it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from soak.store import MODEL

VOCABULARY = int(json.loads((MODEL / "config.json").read_text(encoding="utf-8"))["vocab_size"])
TOKENS_OF_A_PROMPT = [(7 * place) % 4000 + 5 for place in range(490)]
PROSE = "The king was in his house. "
# How many times its usual gap a neighbour's stream may wait. Scored prompts came to 3.0 times and
# 60,000 biases to 4.7; 900 KB of one letter were seen at 2.7 to 3.0, so that a bound of 3 would be
# met by luck. Before long bodies were read in chunks, most kinds were 9 to 12.
MOST_TIMES = 4.0
MOST_TIMES_OF_MUCH = 6.0


@dataclass(frozen=True)
class Bomb:
    """A request, the statuses that may answer it, and how much it may hold a neighbour up."""

    body: dict[str, Any]
    statuses: tuple[int, ...] = (200,)
    path: str = "/v1/completions"
    most_times: float = MOST_TIMES


ORDINARY = Bomb({"prompt": "The king"})
BOMBS = {
    "one letter": Bomb({"prompt": "a" * 900_000}, (400,)),
    "one letter, truncated": Bomb({"prompt": "a" * 900_000, "truncate_prompt": True}),
    "emoji, truncated": Bomb({"prompt": "\U0001f642" * 70_000, "truncate_prompt": True}),
    "all of the vocabulary biased": Bomb(
        {"prompt": "Once", "logit_bias": {str(token): 0.5 for token in range(VOCABULARY)}},
        most_times=MOST_TIMES_OF_MUCH,
    ),
    "echo with log probabilities": Bomb(
        {"prompt": TOKENS_OF_A_PROMPT, "echo": True, "logprobs": 20},
        most_times=MOST_TIMES_OF_MUCH,
    ),
    "the same, streamed": Bomb(
        {"prompt": TOKENS_OF_A_PROMPT, "echo": True, "logprobs": 20, "stream": True},
        most_times=MOST_TIMES_OF_MUCH,
    ),
    "stop strings": Bomb({"prompt": "x", "stop": [" a" * 120 + end for end in "abcdefghijklmnop"]}),
    "penalties over a long context": Bomb(
        {
            "prompt": TOKENS_OF_A_PROMPT,
            "repetition_penalty": 1.2,
            "presence_penalty": 1,
            "frequency_penalty": 1,
        }
    ),
    "many prompts": Bomb({"prompt": [PROSE * 20] * 6, "max_tokens": 5}),
    "many token ids": Bomb({"prompt": [5] * 300_000, "truncate_prompt": True}),
    "lists of token ids": Bomb({"prompt": [[5]] * 200_000}, (400,)),
    "wrong token ids": Bomb({"prompt": "x", "stop_token_ids": [-1] * 240_000}, (400,)),
    "wrong biases": Bomb(
        {"prompt": "x", "logit_bias": {str(n): "much" for n in range(60_000)}},
        (400,),
        most_times=MOST_TIMES_OF_MUCH,
    ),
    "a batch": Bomb({"prompt": [f"The king {number}" for number in range(8)], "max_tokens": 3}),
    # Refused where it is not compiled in its time.
    "a grammar": Bomb({"prompt": "x", "guided_regex": "(a|b|[c-z]{1,200}){1,500}x"}, (200, 400)),
    "an ignored field": Bomb({"prompt": "x", "ignored": ["a"] * 200_000}),
    "tokenize": Bomb({"text": "a" * 60_000}, path="/v1/tokenize"),
    "chats": Bomb(
        {"messages": [{"role": "user", "content": "a"}] * 20_000}, (400,), "/v1/chat/completions"
    ),
    "embeddings": Bomb({"input": [PROSE * 20] * 8}, path="/v1/embeddings"),
    "a plain prediction": Bomb({"data": PROSE * 1000}, (400,), "/predictions/gpt2"),
}
