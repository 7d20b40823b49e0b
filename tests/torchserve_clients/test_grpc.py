"""Over gRPC on a bare TorchServe a prediction is one message, and it is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway.torchserve.process import TorchServe
from tests.conftest import torchserve_settings
from tests.patience import PATIENCE
from tests.torchserve_clients.conftest import Ask

PROMPT = "Once upon a time"


@pytest.fixture(scope="module")
def bare(model_store: Path) -> Iterator[TorchServe]:
    """A TorchServe that takes KServe's calls as well."""
    environment = {"TS_OPEN_INFERENCE_PROTOCOL": "oip"}
    server = TorchServe(torchserve_settings(model_store, environment=environment))
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


def over_http(server: TorchServe, **options: Any) -> str:
    url = f"{server.settings.inference_url}/predictions/gpt2"
    reply = requests.post(url, json={"prompt": PROMPT} | options, timeout=PATIENCE)
    return str(reply.json()["choices"][0]["text"])


def test_every_call_gets_one_whole_answer_while_neighbours_stream(
    bare: TorchServe, ask_over_grpc: Ask
) -> None:
    """Sixteen calls of all kinds at once, streams over HTTP beside them: nobody loses anything."""
    options = {"max_tokens": 12, "seed": 3}
    whole = over_http(bare, **options)
    asked = json.dumps({"prompt": PROMPT} | options)
    calls = [
        {"call": "Predictions", "input": {"data": PROMPT}},
        {"call": "Predictions", "input": {"body": PROMPT}},
        {"call": "Predictions", "input": {"body": asked}},
        {"call": "StreamPredictions", "input": {"data": asked}},
        {"call": "StreamPredictions", "input": {"data": PROMPT}},
        {"call": "StreamPredictions", "input": {"body": asked}},
        # Errors are whole answers too.
        {"call": "Predictions", "input": {"body": '{"prompt": "x", "temperature": 9}'}},
        {"call": "StreamPredictions", "input": {"body": '{"prompt": "x", "temperature": 9}'}},
        {"call": "Predictions", "input": {}},
        {"call": "StreamPredictions", "input": {}},
        {"call": "StreamPredictions", "input": {"data": asked[:-1] + ', "stream": true}'}},
        {"call": "ModelInfer"},
        {"call": "Ping"},
        {"call": "DescribeModel", "input": {"model_name": "gpt2"}},
        {"call": "ListModels", "input": {"limit": 1}},
        {"call": "Predictions", "input": {"data": '{"prompt": "A", "max_tokens": 300}'}},
    ]

    def stream() -> str:
        url = f"{bare.settings.inference_url}/predictions/gpt2"
        body = {"prompt": PROMPT, "stream": True, "max_tokens": 300, "ignore_eos": True}
        return requests.post(url, json=body, timeout=PATIENCE).text

    with ThreadPoolExecutor(2) as pool:
        neighbours = [pool.submit(stream) for _ in range(2)]
        found = ask_over_grpc(bare, calls)
        texts = [neighbour.result() for neighbour in neighbours]
    assert all(text.rstrip().endswith("data: [DONE]") and "error" not in text for text in texts)

    messages = [each.get("messages", []) for each in found]
    assert [len(each) for each in messages] == [1] * 16, found
    answers = [each[0] for each in messages]
    assert all(answers[0:2]) and answers[4]
    for number in (2, 3, 5):
        assert json.loads(answers[number])["choices"][0]["text"] == whole
    for number in (6, 7):
        assert json.loads(answers[number])["error"]["param"] == "temperature"
    for number in (8, 9):
        assert "error" in json.loads(answers[number])
    assert answers[10].startswith("data: ") and answers[10].rstrip().endswith("data: [DONE]")
    assert "HTTP" in answers[11]
    assert "Healthy" in answers[12]
    assert json.loads(answers[13])[0]["modelName"] == "gpt2"
    assert json.loads(answers[14])["models"][0]["modelName"] == "gpt2"
    assert json.loads(answers[15])["choices"][0]["finish_reason"] in ("stop", "length")


def test_a_caller_who_leaves_harms_nobody(bare: TorchServe, ask_over_grpc: Ask) -> None:
    long = json.dumps({"prompt": PROMPT, "max_tokens": 400, "ignore_eos": True})
    calls: list[dict[str, Any]] = [
        {"call": kind, "input": {"data": long}, "seconds": 0.3}
        for kind in ("Predictions", "StreamPredictions")
    ]
    for outcome in ask_over_grpc(bare, calls):
        assert outcome["code"] == "DEADLINE_EXCEEDED"
    assert over_http(bare, max_tokens=5)
    (after,) = ask_over_grpc(bare, [{"call": "Predictions", "input": {"data": PROMPT}}])
    assert after["messages"][0]
