"""Prompts as bombs: eight at once of each kind hardly hold up a neighbour's stream.

What is measured is the longest gap between two events of a stream. Usual is what it is beside eight
ordinary requests at once. Of some streams the best counts, since the machine's other work only adds
to it, while the bombs fall all the time.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import EMBEDDED_VOCABULARY
from tests.gateway.conftest import Service, StartService
from tests.patience import PATIENCE

pytestmark = pytest.mark.alone

AT_ONCE = 8
TOKENS = 300
STREAMS = 3
# At most so many times the usual gap. Where the service had two cores for itself, scored prompts
# came to 3.0 times (10 ms), 60,000 biases to 4.7 (18 ms), all others to 2.9 or less. 900 KB of one
# letter were seen at 2.7 to 3.0 in several runs: a bound of 3 would be met by luck. Before bodies
# were read piece by piece it was 4.1, and most kinds were 9 to 12.
TIMES = 4
TIMES_LARGE = 6
IDS = [(7 * place) % 4000 + 5 for place in range(490)]
PROSE = "The king was in his house. "

COMPLETIONS: dict[str, dict[str, Any]] = {
    "one letter": {"prompt": "a" * 900_000},
    "one letter, truncated": {"prompt": "a" * 900_000, "truncate_prompt": True},
    "emoji, truncated": {"prompt": "\U0001f642" * 70_000, "truncate_prompt": True},
    "all of the vocabulary biased": {
        "prompt": "Once",
        "logit_bias": {str(token): 0.5 for token in range(EMBEDDED_VOCABULARY)},
    },
    "echo with log probabilities": {"prompt": IDS, "echo": True, "logprobs": 20},
    "the same, streamed": {"prompt": IDS, "echo": True, "logprobs": 20, "stream": True},
    "stop strings": {"prompt": "x", "stop": [" a" * 120 + end for end in "abcdefghijklmnop"]},
    "penalties over a long context": {
        "prompt": IDS,
        "repetition_penalty": 1.2,
        "presence_penalty": 1,
        "frequency_penalty": 1,
    },
    "many prompts": {"prompt": [PROSE * 20] * 6, "max_tokens": 5},
    "many token ids": {"prompt": [5] * 300_000, "truncate_prompt": True},
    "lists of token ids": {"prompt": [[5]] * 200_000},
    "wrong token ids": {"prompt": "x", "stop_token_ids": [-1] * 240_000},
    "wrong biases": {"prompt": "x", "logit_bias": {str(n): "much" for n in range(60_000)}},
    "a batch": {"prompt": [f"The king {number}" for number in range(8)], "max_tokens": 3},
    "a grammar": {"prompt": "x", "guided_regex": "(a|b|[c-z]{1,200}){1,500}x"},
    "an ignored field": {"prompt": "x", "ignored": ["a"] * 200_000},
}
ORDINARY = {"prompt": "The king"}
BOMBS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: ("/v1/completions", body) for name, body in COMPLETIONS.items()},
    "tokenize": ("/v1/tokenize", {"text": "a" * 60_000}),
    "chats": (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "a"}] * 20_000},
    ),
    "embeddings": ("/v1/embeddings", {"input": [PROSE * 20] * 8}),
    "a plain prediction": ("/predictions/gpt2", {"data": PROSE * 1000}),
}

# A process of its own that gives way, as it would on another machine.
BOMBER = """
import os, socket, sys, threading
os.nice(19)
port, at_once, patience = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
whole = sys.stdin.buffer.read()

def send_again_and_again():
    while True:
        with socket.create_connection(("127.0.0.1", port), timeout=patience) as made:
            try:
                made.sendall(whole)
                while made.recv(1 << 20):
                    pass
            except OSError:
                pass
            answered.release()

answered = threading.Semaphore(0)
for _ in range(at_once):
    threading.Thread(target=send_again_and_again, daemon=True).start()
for _ in range(2):
    answered.acquire()
print("bombing", flush=True)
threading.Event().wait()
"""


@contextlib.contextmanager
def bombs(port: int, path: str, body: dict[str, Any]) -> Iterator[None]:
    """Eight at once, again and again."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    command = [sys.executable, "-c", BOMBER, str(port), str(AT_ONCE), str(PATIENCE)]
    bomber = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert bomber.stdin is not None and bomber.stdout is not None
        bomber.stdin.write(head.encode() + content)
        bomber.stdin.close()
        bomber.stdin = None
        assert bomber.stdout.readline() == b"bombing\n"
        yield
        assert bomber.poll() is None, "it ended by itself"
    finally:
        bomber.kill()
        bomber.communicate()


def longest_gap(port: int) -> float:
    """The longest time between two events of a stream."""
    asked = {"prompt": "Once upon a time", "max_tokens": TOKENS, "ignore_eos": True, "seed": 1}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        headers = {"content-type": "application/json"}
        connection.request(
            "POST", "/v1/completions", json.dumps({**asked, "stream": True}), headers
        )
        response = connection.getresponse()
        assert response.status == 200, response.read()
        times = [time.perf_counter() for line in response if line.startswith(b"data: {")]
    assert len(times) > TOKENS / 2
    return max(after - before for before, after in zip(times, times[1:], strict=False))


@pytest.fixture(scope="module")
def bombed(start_service: StartService) -> Service:
    return start_service()


def best_of_streams(port: int, path: str, body: dict[str, Any]) -> float:
    with bombs(port, path, body):
        return min(longest_gap(port) for _ in range(STREAMS))


class Usual:
    """The gap beside ordinary requests: measured once, and anew where a kind looks slower."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.seconds = self._measure()

    def again(self) -> float:
        """What is usual, with what the machine does now counted too."""
        self.seconds, before = self._measure(), self.seconds
        return max(before, self.seconds)

    def _measure(self) -> float:
        return best_of_streams(self._port, "/v1/completions", ORDINARY)


@pytest.fixture(scope="module")
def usual(bombed: Service) -> Usual:
    return Usual(bombed.port)


@pytest.mark.parametrize(("path", "body"), BOMBS.values(), ids=BOMBS)
def test_a_neighbours_stream_goes_on(
    bombed: Service, usual: Usual, path: str, body: dict[str, Any]
) -> None:
    times = TIMES_LARGE if body.keys() & {"echo", "logit_bias"} else TIMES
    beside = best_of_streams(bombed.port, path, body)
    ordinary = usual.seconds
    if beside >= times * ordinary:
        ordinary = usual.again()
    said = (
        f"{1000 * beside:.1f} ms, usually {1000 * ordinary:.1f} ms: {beside / ordinary:.1f} times"
    )
    print(said)
    assert beside < times * ordinary, said
