"""The handler in a real TorchServe, driven over HTTP."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from threading import Barrier
from typing import Any

import psutil
import pytest
import requests

from gateway.torchserve import TorchServe
from tests.conftest import EMBEDDED_VOCABULARY, torchserve_settings

TIMEOUT = 30


def url(server: TorchServe, route: str = "") -> str:
    return f"{server.settings.inference_url}/predictions/gpt2{route}"


def post(server: TorchServe, body: Any, route: str = "") -> requests.Response:
    return requests.post(url(server, route), json=body, timeout=TIMEOUT)


def text(server: TorchServe, **body: Any) -> str:
    response = post(server, body)
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["text"])


def events(response: requests.Response) -> Iterator[Any]:
    """The data of each event, parsed; `[DONE]` as it is."""
    for line in response.iter_lines(chunk_size=1):
        if line.startswith(b"data: "):
            data = line[6:]
            yield "[DONE]" if data == b"[DONE]" else json.loads(data)


def stream(server: TorchServe, **body: Any) -> list[Any]:
    response = requests.post(
        url(server), json={**body, "stream": True}, stream=True, timeout=TIMEOUT
    )
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    return list(events(response))


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
    body = post(torchserve, {"prompt": prompt, "n": 2, "max_tokens": 3}).json()
    assert [choice["index"] for choice in body["choices"]] == list(range(2 * texts))


def test_tokens_go_to_text_and_back(torchserve: TorchServe) -> None:
    words = 'The "old" fox — naïve, 漢字 🙂\n\n  end'
    tokens = post(torchserve, {"text": words}, "/1.0/v1/tokenize").json()
    back = post(torchserve, {"tokens": tokens["tokens"]}, "/1.0/v1/detokenize").json()
    assert back == {"text": words}


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


BAD = {
    "temperature": {"prompt": "x", "temperature": 3},
    "max_tokens": {"prompt": "x", "max_tokens": "5"},
    "prompt": {"prompt": 5},
    "n": {"prompt": "x", "n": 9},
    "stop": {"prompt": "x", "stop": ["a", "b", "c", "d", "e"]},
    "colour": {"prompt": "x", "colour": "red"},
    "logit_bias": {"prompt": "x", "logit_bias": {"999999": 1}},
    "logprobs": {"prompt": "x", "logprobs": 21},
}


@pytest.mark.parametrize(("field", "body"), BAD.items(), ids=BAD)
def test_a_bad_value_is_a_400_that_names_the_field(
    torchserve: TorchServe, field: str, body: Any
) -> None:
    response = post(torchserve, body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == field
    assert field in error["message"]
    assert error["type"] == "invalid_request_error"


RAW = {
    "not json": b"{",
    "nan": b'{"prompt": "x", "temperature": NaN}',
    "not utf-8": b'{"prompt": "\xff"}',
    "lone surrogate": b'{"prompt": "\\ud800"}',
    "deep": b'{"prompt":' + b"[" * 100_000,
    "huge number": b'{"seed": ' + b"9" * 5_000 + b"}",
    "unknown token": b'{"prompt": [%d]}' % EMBEDDED_VOCABULARY,
    "empty": b"",
    "a list": b"[]",
}


@pytest.mark.parametrize("body", RAW.values(), ids=RAW)
def test_a_body_that_is_no_request_is_a_400(torchserve: TorchServe, body: bytes) -> None:
    response = requests.post(
        url(torchserve), data=body, headers={"Content-Type": "application/json"}, timeout=TIMEOUT
    )
    assert response.status_code == 400
    assert response.json()["error"]["message"]
    assert "Traceback" not in response.text


def test_a_prompt_beyond_the_context_says_both_numbers_unless_truncated(
    torchserve: TorchServe,
) -> None:
    response = post(torchserve, {"prompt": [5] * 600})
    assert response.status_code == 400
    assert "600 tokens" in response.json()["error"]["message"]
    assert "512" in response.json()["error"]["message"]
    body = post(torchserve, {"prompt": [5] * 600, "truncate_prompt": True}).json()
    assert body["usage"] | {"prompt_tokens_details": None} == {
        "prompt_tokens": 492,
        "completion_tokens": 20,
        "total_tokens": 512,
        "prompt_tokens_details": None,
    }


def test_bad_requests_among_good_ones_disturb_nobody(torchserve: TorchServe) -> None:
    good = [
        {"prompt": f"{word} was", "seed": seed, "max_tokens": 10 + seed, "stream": seed % 2 == 0}
        for seed, word in enumerate(["The king", "It", "A ship", "Once it"] * 3)
    ]
    bad = [{"prompt": 5}, {"temperature": 9}, {"prompt": [9999]}, {"nope": 1}]

    def ask(body: dict[str, Any]) -> str | int:
        if body.get("stream"):
            got = stream(torchserve, **body)
            return "".join(e["choices"][0]["text"] for e in got[:-1])
        response = post(torchserve, body)
        if response.status_code != 200:
            return response.status_code
        return str(response.json()["choices"][0]["text"])

    alone = [ask(body) for body in good]
    mixed = good[:6] + bad[:2] + good[6:] + bad[2:]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(ask, mixed))
    assert [t for t in together if t != 400] == alone
    assert together.count(400) == 4


def test_the_longest_text_to_tokenize_hardly_stops_a_stream(torchserve: TorchServe) -> None:
    body = {"prompt": "Once", "stream": True, "max_tokens": 300, "ignore_eos": True}
    gaps: list[float] = []
    with ThreadPoolExecutor(1) as pool:
        with closing(
            requests.post(url(torchserve), json=body, stream=True, timeout=TIMEOUT)
        ) as response:
            before = time.monotonic()
            for number, _ in enumerate(events(response)):
                if number == 5:
                    worst = {"text": "\U0001f642" * 16_384}
                    tokenized = pool.submit(post, torchserve, worst, "/1.0/v1/tokenize")
                gaps.append(time.monotonic() - before)
                before = time.monotonic()
        assert tokenized.result().status_code == 200
    assert max(gaps[1:]) < 3  # a quarter of a second here; it took 20 s where text had no bound
    longer = {"text": "x" * 65_537}
    refused = post(torchserve, longer, "/1.0/v1/tokenize")
    assert refused.status_code == 400
    assert "65537 bytes" in refused.json()["error"]["message"]


def test_many_long_prompts_in_one_request_are_refused(torchserve: TorchServe) -> None:
    body = {"prompt": ["\U0001f642" * 10_000] * 10, "truncate_prompt": True}
    response = post(torchserve, body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "prompts_too_long"


def test_json_sent_as_a_form_is_told_which_header_it_needs(torchserve: TorchServe) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    response = requests.post(url(torchserve), data='{"prompt": "x"}', headers=form, timeout=TIMEOUT)
    assert response.status_code == 400
    assert "Content-Type: application/json" in response.json()["error"]["message"]


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
    for _ in range(6):  # 48 texts: more than there are slots
        with closing(
            requests.post(url(torchserve), json=body, stream=True, timeout=TIMEOUT)
        ) as response:
            next(events(response))
    started = time.monotonic()
    assert text(torchserve, prompt="The", max_tokens=2)
    assert time.monotonic() - started < 10


def test_metrics_count_requests_and_tokens(torchserve: TorchServe) -> None:
    def generated() -> float:
        metrics = requests.get(f"{torchserve.settings.metrics_url}/metrics", timeout=TIMEOUT).text
        lines = [line for line in metrics.splitlines() if line.startswith("GenerationTokens{")]
        return float(lines[0].split()[-1]) if lines else 0.0

    text(torchserve, prompt="The", max_tokens=1)
    before = generated()
    text(torchserve, prompt="The", max_tokens=17, ignore_eos=True)
    deadline = time.monotonic() + 10
    while generated() < before + 17 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert generated() == before + 17


def test_metrics_tell_time_in_the_queue_from_time_to_the_first_token_and_who_left(
    torchserve: TorchServe,
) -> None:
    def value(name: str) -> float:
        metrics = requests.get(f"{torchserve.settings.metrics_url}/metrics", timeout=TIMEOUT).text
        lines = [line for line in metrics.splitlines() if line.startswith(name)]
        return sum(float(line.split()[-1]) for line in lines)

    def grows(name: str, before: float) -> float:
        deadline = time.monotonic() + 10
        while value(name) <= before and time.monotonic() < deadline:
            time.sleep(0.1)
        return value(name) - before

    queue, first = value("QueueSeconds_sum"), value("TimeToFirstToken_sum")
    gap = value("InterTokenLatency_count")
    text(torchserve, prompt=list(range(1, 500)), max_tokens=5, ignore_eos=True)
    to_first = grows("TimeToFirstToken_sum", first)
    assert grows("InterTokenLatency_count", gap) == 1
    assert 0 <= value("QueueSeconds_sum") - queue < to_first / 2  # the rest was reading the prompt

    left = 'FinishedRequests{ModelName="gpt2",EndReason="abort"'
    before = value(left)
    body = {"prompt": "Once", "stream": True, "max_tokens": 480, "ignore_eos": True}
    with closing(
        requests.post(url(torchserve), json=body, stream=True, timeout=TIMEOUT)
    ) as response:
        next(events(response))
    text(torchserve, prompt="The", max_tokens=2)  # who left is seen with the next step
    assert grows(left, before) == 1


@pytest.fixture
def own_torchserve(model_store: Path) -> Iterator[TorchServe]:
    """A TorchServe that a test may break."""
    server = TorchServe(torchserve_settings(model_store))
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


def worker_of(server: TorchServe) -> psutil.Process:
    assert server.process is not None
    children = psutil.Process(server.process.pid).children(recursive=True)
    return next(p for p in children if "model_service_worker.py" in " ".join(p.cmdline()))


def test_a_killed_worker_ends_its_streams_and_the_next_request_is_served(
    own_torchserve: TorchServe,
) -> None:
    begun = Barrier(5)

    def read_until_it_ends() -> tuple[float, list[Any]]:
        body = {"prompt": "Once", "stream": True, "max_tokens": 480, "ignore_eos": True}
        response = requests.post(url(own_torchserve), json=body, stream=True, timeout=TIMEOUT)
        coming = events(response)
        seen = [next(coming)]
        begun.wait(TIMEOUT)
        with suppress(requests.RequestException):
            seen.extend(coming)
        return time.monotonic(), seen

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read_until_it_ends) for _ in range(4)]
        begun.wait(TIMEOUT)
        killed = time.monotonic()
        os.kill(worker_of(own_torchserve).pid, signal.SIGKILL)
        for ended, seen in (reader.result() for reader in readers):
            assert ended - killed < 10
            assert "[DONE]" not in seen
    own_torchserve.wait_ready(30)
    assert text(own_torchserve, prompt="The", max_tokens=2)


def test_nothing_is_left_when_torchserve_is_stopped_or_killed(own_torchserve: TorchServe) -> None:
    worker = worker_of(own_torchserve)
    java = own_torchserve.process
    assert java is not None
    java.kill()
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running()
