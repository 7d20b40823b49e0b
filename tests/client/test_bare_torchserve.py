"""The client against a real TorchServe with the embedded model, without the gateway."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from gateway.torchserve.process import TorchServe
from gpt2_client import (
    BadRequest,
    Client,
    FinishEvent,
    NotFound,
    ScaleRefused,
    TextEvent,
    UsageEvent,
)
from tests.conftest import ROOT
from tests.patience import PATIENCE


@pytest.fixture
def client(torchserve: TorchServe) -> Iterator[Client]:
    settings = torchserve.settings
    with Client(settings.inference_url, management_url=settings.management_url) as client:
        yield client


def test_a_text_is_written_and_counted(client: Client) -> None:
    reply = client.generate("Once upon a time", max_tokens=8, temperature=0)
    assert reply.text
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 8


def test_a_stream_says_what_the_whole_reply_says(client: Client) -> None:
    whole = client.generate("Once upon a time", max_tokens=12, seed=3)
    with client.stream("Once upon a time", max_tokens=12, seed=3) as stream:
        events = list(stream)
    texts = [event.text for event in events if isinstance(event, TextEvent)]
    assert "".join(texts) == whole.text
    assert len(texts) > 2
    assert isinstance(events[-2], FinishEvent)
    assert isinstance(events[-1], UsageEvent)


def test_several_texts_and_log_probabilities_arrive_typed(client: Client) -> None:
    reply = client.generate("The old man", max_tokens=3, n=2, logprobs=2, seed=1)
    assert [choice.index for choice in reply.choices] == [0, 1]
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == 3


def test_tokens_go_there_and_back(client: Client) -> None:
    tokens = client.tokenize("Once upon a time")
    assert tokens
    assert client.detokenize(tokens) == "Once upon a time"


def test_the_model_tells_what_it_is(client: Client) -> None:
    (model,) = client.models()
    (status,) = client.describe()
    assert (model.id, model.version) == (status.name, status.version) == ("gpt2", "1.0")
    assert model.context_length == 512
    assert status.ready
    assert list(client.registered()) == ["gpt2"]


def test_health_knows_a_ready_server(client: Client) -> None:
    health = client.health()
    assert (health.live, health.ready) == (True, True)


def test_a_bad_value_is_named(client: Client) -> None:
    with pytest.raises(BadRequest) as caught:
        client.generate("Hello", temperature=9)
    assert (caught.value.status, caught.value.param) == (400, "temperature")


def test_a_bad_value_is_named_before_a_stream_begins(client: Client) -> None:
    with pytest.raises(BadRequest, match="top_p"):
        client.stream("Hello", top_p=2.0)


def test_a_model_that_is_not_there_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound):
        client.generate("Hello", model="nobody")
    with pytest.raises(NotFound):
        client.describe("nobody")


def test_one_worker_is_right_and_two_are_refused(client: Client) -> None:
    with pytest.raises(ScaleRefused):
        client.scale(2)
    client.scale(1)
    assert len(client.describe()[0].workers) == 1


def test_a_dropped_stream_leaves_the_server_free(client: Client) -> None:
    with client.stream("Once upon a time", max_tokens=400) as stream:
        next(stream)
    assert client.generate("Hello", max_tokens=2).usage is not None


def test_many_clients_at_once_each_get_their_own_text(torchserve: TorchServe) -> None:
    settings = torchserve.settings
    texts: dict[int, str] = {}

    def write(seed: int) -> None:
        with Client(settings.inference_url, management_url=settings.management_url) as client:
            texts[seed] = client.generate("The sea", max_tokens=10, seed=seed % 4).text

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(texts[seed] == texts[seed + 4] for seed in range(4))
    assert len(set(texts.values())) > 1


def test_the_command_line_writes_and_reports(torchserve: TorchServe) -> None:
    settings = torchserve.settings
    environment = os.environ | {
        "GPT2_URL": settings.inference_url,
        "GPT2_MANAGEMENT_URL": settings.management_url,
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gpt2_client", *arguments]
        return subprocess.run(
            command,
            cwd=ROOT / "client",
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    written = run("generate", "Once upon a time", "--max-tokens", "5", "--temperature", "0")
    assert written.returncode == 0
    assert "5 tokens in" in written.stderr
    status = run("status", "--json")
    assert status.returncode == 0
    assert json.loads(status.stdout)["versions"][0]["workers"][0]["status"] == "READY"
    assert "gpt2 1.0: ready" in run("status").stdout
    assert run("scale", "2").returncode == 1
    assert "temperature" in run("generate", "Hello", "--temperature", "7").stderr
