"""The archive alone: registered on a TorchServe that nobody configured, it serves all there is."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.gateway.conftest import change_archive
from tests.handler.stock import started
from tests.patience import wait_until

TIMEOUT = 60


@pytest.fixture(scope="module")
def stock(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """`torchserve --start` as its manual has it, in a directory that holds the archive alone."""
    directory = tmp_path_factory.mktemp("stock")
    (directory / "store").mkdir()
    shutil.copy(model_store / "gpt2.mar", directory / "store")
    whole = directory / "store" / "gpt2-whole.mar"
    batching = ("continuousBatching: true", "continuousBatching: false")
    change_archive(model_store / "gpt2.mar", whole, "model-config.yaml", *batching)
    with started(directory, "store") as urls:
        yield urls


def test_it_is_registered_streams_scores_and_goes(stock: dict[str, str]) -> None:
    query: dict[str, Any] = {"url": "gpt2.mar", "initial_workers": 1, "synchronous": "true"}
    models = f"{stock['management']}/models"
    registered = requests.post(models, params=query, timeout=TIMEOUT)
    assert registered.status_code == 200, registered.text

    predictions = f"{stock['inference']}/predictions/gpt2"
    body = {"prompt": "Once upon a time", "seed": 1, "max_tokens": 12}
    whole = requests.post(predictions, json=body, timeout=TIMEOUT).json()["choices"][0]["text"]
    assert whole
    # This TorchServe decodes JSON and texts before the handler sees them.
    options = {name: (None, str(value)) for name, value in body.items() if name != "prompt"}
    for prompt in (("story.txt", "Once upon a time", "text/plain"), (None, "Once upon a time")):
        form = requests.post(predictions, files=options | {"data": prompt}, timeout=TIMEOUT)
        assert form.json()["choices"][0]["text"] == whole
    part = ("story.json", json.dumps(body), "application/json")
    form = requests.post(predictions, files={"data": part}, timeout=TIMEOUT)
    assert form.json()["choices"][0]["text"] == whole
    listed = requests.post(predictions, json=[body, "The fox"], timeout=TIMEOUT).json()
    assert [each["choices"][0]["text"] for each in listed][0] == whole and len(listed) == 2
    assert requests.post(predictions, json="The fox", timeout=TIMEOUT).json()["choices"]
    several = [("data", "Once upon a time"), ("data", "The fox"), *options.items()]
    both = requests.post(predictions, files=several, timeout=TIMEOUT).json()
    assert both[0]["choices"][0]["text"] == whole

    streamed = requests.post(
        f"{predictions}/1.0/v1/completions", json=body | {"stream": True}, timeout=TIMEOUT
    )
    assert streamed.text.rstrip().endswith("data: [DONE]")

    # The largest reply that is allowed passes TorchServe's own bound, and nobody else is lost.
    prompt = [list(range(1, 500))] * 9
    largest = {"prompt": prompt, "echo": True, "logprobs": 20, "max_tokens": 0}
    scored = requests.post(predictions, json=largest, timeout=TIMEOUT)
    assert scored.status_code == 200
    assert len(scored.content) < 6_553_500
    assert len(scored.json()["choices"]) == 9
    again = requests.post(predictions, json=body, timeout=TIMEOUT).json()["choices"][0]["text"]
    assert again == whole

    card = requests.get(f"{predictions}/1.0/v1/models", timeout=TIMEOUT).json()["data"][0]
    assert card["cache"] == "int8"
    assert card["quality"]["perplexity_growth"] < 0.01
    assert requests.delete(f"{models}/gpt2", timeout=TIMEOUT).status_code == 200


METADATA = {"precision", "shape", "content_sha256", "quality", "limits", "context_length"}


def describe(stock: dict[str, str], name: str) -> dict[str, Any]:
    url = f"{stock['management']}/models/{name}"
    reply = requests.get(url, params={"customized": "true"}, timeout=TIMEOUT)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()[0]["customizedMetadata"]
    return found


def register(stock: dict[str, str], archive: str, name: str) -> None:
    query = {"url": archive, "model_name": name, "initial_workers": "1", "synchronous": "true"}
    reply = requests.post(f"{stock['management']}/models", params=query, timeout=TIMEOUT)
    assert reply.status_code == 200, reply.text


def remove(stock: dict[str, str], name: str) -> None:
    requests.delete(f"{stock['management']}/models/{name}", timeout=TIMEOUT).raise_for_status()


def test_without_continuous_batching_it_is_described_and_answers_whole(
    stock: dict[str, str],
) -> None:
    register(stock, "gpt2-whole.mar", "whole")
    assert describe(stock, "whole").keys() >= METADATA
    predictions = f"{stock['inference']}/predictions/whole"
    body = {"prompt": "Once upon a time", "seed": 1, "max_tokens": 12}
    for _ in range(2):  # what was described is not described again and again
        reply = requests.post(predictions, json=body, timeout=TIMEOUT)
        assert reply.json()["choices"][0]["text"]
    streamed = requests.post(predictions, json=body | {"stream": True}, timeout=TIMEOUT)
    assert streamed.text.startswith("data: {")
    assert streamed.text.rstrip().endswith("data: [DONE]")
    refused = requests.post(predictions, json=body | {"top_p": 3}, timeout=TIMEOUT)
    assert refused.json()["error"]["param"] == "top_p"
    remove(stock, "whole")


def test_with_continuous_batching_a_description_costs_the_model_and_its_log_says_so(
    stock: dict[str, str],
) -> None:
    """A fault of TorchServe 0.12; docs/torchserve.md warns of it."""

    def said(words: str) -> int:
        return Path(stock["log"]).read_text(errors="replace").count(words)

    register(stock, "gpt2.mar", "lost")
    began = time.monotonic()
    assert describe(stock, "lost").keys() >= METADATA
    time.sleep(3)
    wait_until(lambda: said("unregister this model and register it again") == 1)
    asked = said("lost_1.0-stdout MODEL_LOG - Backend received inference")
    # By itself TorchServe asks thousands of times a second.
    assert asked < 10 + 2 * (time.monotonic() - began)
    remove(stock, "lost")
    register(stock, "gpt2.mar", "lost")
    predictions = f"{stock['inference']}/predictions/lost"
    assert requests.post(predictions, json={"prompt": "Once"}, timeout=TIMEOUT).ok
    remove(stock, "lost")


def test_an_explanation_says_what_there_is_instead(stock: dict[str, str]) -> None:
    register(stock, "gpt2.mar", "explained")
    url = f"{stock['inference']}/explanations/explained"
    reply = requests.post(url, json={"prompt": "Once"}, timeout=TIMEOUT)
    assert reply.status_code == 501
    assert "`logprobs: 5`" in reply.json()["error"]["message"]
    remove(stock, "explained")
