"""The client through the real gateway: the same calls at the public address, and scaling."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from gpt2_client import APIError, BadRequest, Client, NotFound, TextEvent, Unauthorized
from gpt2_client.cli.heat_map import page
from gpt2_client.score import score
from tests.client.command import ENVIRONMENT, GPT2, run
from tests.gateway.conftest import MANAGEMENT_KEY, ROOT, Service, change_archive

API_KEY = "writer-secret"


@pytest.fixture(scope="module")
def gateway(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    store = tmp_path_factory.mktemp("two-versions")
    first, manifest = store / "gpt2.mar", "MAR-INF/MANIFEST.json"
    shutil.copy(model_store / "gpt2.mar", first)
    named = '"modelVersion": "%s"'
    change_archive(first, store / "second.mar", manifest, named % "1.0", named % "2.0")
    service = Service(store, API_KEYS=API_KEY)
    try:
        yield service.wait_ready()
    finally:
        service.stop()


@pytest.fixture
def client(gateway: Service) -> Iterator[Client]:
    with Client(gateway.url, api_key=API_KEY, management_key=MANAGEMENT_KEY) as client:
        yield client


def test_a_text_streams_and_is_the_one_of_the_whole_reply(client: Client) -> None:
    whole = client.generate("Once upon a time", max_tokens=10, seed=5)
    with client.stream("Once upon a time", max_tokens=10, seed=5) as stream:
        pieces = [event.text for event in stream if isinstance(event, TextEvent)]
    assert "".join(pieces) == whole.text
    assert whole.usage is not None and whole.usage.completion_tokens == 10


def test_a_version_can_be_named(client: Client) -> None:
    assert client.generate("Hello", max_tokens=1, version="1.0").choices
    with pytest.raises(NotFound):
        client.generate("Hello", max_tokens=1, version="9.9")


def test_tokens_models_and_health_are_told(client: Client) -> None:
    assert client.detokenize(client.tokenize("The sea")) == "The sea"
    assert client.models()[0].context_length == 512
    assert client.health().ready


def test_texts_become_vectors_in_python_and_on_the_command_line(
    client: Client, gateway: Service
) -> None:
    texts = ["The sea", "A house by the sea"]
    found = client.embed(texts, dimensions=8, pooling="last")
    assert found.model == "gpt2" and found.usage.prompt_tokens > 2
    assert found.vectors[0] == client.embed(texts[0], dimensions=8, pooling="last").vectors[0]
    options = ("--dimensions", "8", "--pooling", "last")
    shown = run(gateway.url, "embed", *texts, *options, GPT2_API_KEY=API_KEY)
    lines = [tuple(map(float, line.split("\t"))) for line in shown.stdout.splitlines()]
    assert tuple(lines) == found.vectors
    piped = run(
        gateway.url, "embed", "-", "--json", *options, text="\n".join(texts), GPT2_API_KEY=API_KEY
    )
    values = [json.loads(line) for line in piped.stdout.splitlines()]
    assert [value["text"] for value in values] == texts
    assert tuple(tuple(value["embedding"]) for value in values) == found.vectors
    empty = run(gateway.url, "embed", "-", text="a\n\nb", GPT2_API_KEY=API_KEY)
    assert empty.returncode == 2 and "line 2" in empty.stderr


def test_keys_open_what_is_theirs_and_nothing_else(gateway: Service) -> None:
    with Client(gateway.url, api_key="wrong", management_key=API_KEY) as stranger:
        with pytest.raises(Unauthorized):
            stranger.generate("Hello")
        with pytest.raises(Unauthorized):
            stranger.describe()


def test_a_bad_value_is_named(client: Client) -> None:
    with pytest.raises(BadRequest) as caught:
        client.generate("Hello", max_tokens=-1)
    assert caught.value.param == "max_tokens"


def test_a_version_is_registered_made_the_default_and_taken_away(
    client: Client, gateway: Service
) -> None:
    def asked() -> float:
        return gateway.metric(r'ts_inference_requests_total\{[^}]*model_version="2.0"[^}]*\}')

    assert "2.0" in client.register("second.mar")
    assert [status.version for status in client.describe(version="all")] == ["1.0", "2.0"]
    assert client.generate("Hello", max_tokens=1, version="2.0").choices
    assert client.models()[0].version == "1.0"
    client.set_default("gpt2", "2.0")
    assert client.models()[0].version == "2.0"
    assert client.describe()[0].archive == "second.mar"
    before = asked()
    assert client.generate("Hello", max_tokens=1).choices
    assert asked() == before + 1
    with pytest.raises(APIError, match="default") as caught:
        client.unregister("gpt2")
    assert caught.value.status == 409
    client.set_default("gpt2", "1.0")
    client.unregister("gpt2", "2.0")
    assert [status.version for status in client.describe(version="all")] == ["1.0"]
    with pytest.raises(NotFound):
        client.generate("Hello", max_tokens=1, version="2.0")
    assert client.generate("Hello", max_tokens=1).choices


def test_every_model_that_serves_is_told_of(client: Client, gateway: Service) -> None:
    client.register("gpt2.mar", model="second")
    assert [model.id for model in client.models(model="second")] == ["second"]
    assert [model.id for model in client.models(model="second", version="1.0")] == ["second"]
    assert sorted(model.id for model in client.models()) == ["gpt2", "second"]
    assert client.detokenize(client.tokenize("The sea", model="second"), model="second")
    keys = {"GPT2_API_KEY": API_KEY, "GPT2_MANAGEMENT_KEY": MANAGEMENT_KEY}
    for words in (["status", "--model", "second"], ["status", "Second.mar"]):
        done = run(gateway.url, *words, **keys)
        assert done.returncode == 0
        assert "model second 1.0: " in done.stdout and "second 1.0: ready" in done.stdout
    assert run(gateway.url, "unregister", "second", **keys).returncode == 0
    assert [model.id for model in client.models()] == ["gpt2"]


def test_a_killed_batch_of_the_real_service_is_that_of_an_undisturbed_one(
    gateway: Service, tmp_path: Path
) -> None:
    rows = [
        {"custom_id": f"r{n}", "method": "POST", "url": "/v1/completions"}
        | {"body": {"prompt": f"The {n}th fox", "max_tokens": 12, "logprobs": 1}}
        for n in range(60)
    ]
    rows.append(rows[0] | {"custom_id": "x", "url": "/v1/files"})
    rows += [
        {"custom_id": f"e{n}", "method": "POST", "url": "/v1/embeddings"}
        | {"body": {"input": text}}
        for n, text in enumerate(("The sea", ""))
    ]
    source, whole, pieces = (tmp_path / name for name in ("in", "whole", "pieces"))
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"GPT2_API_KEY": API_KEY, "SOURCE_DATE_EPOCH": "1000"}
    undisturbed = run(gateway.url, "batch", str(source), str(whole), "--parallel", "2", **settings)
    assert "63 requests, 2 of them failed" in undisturbed.stderr
    first = json.loads(whole.read_bytes().splitlines()[-2])
    assert first["response"]["body"]["data"][0]["object"] == "embedding"
    command = [*GPT2, "--url", gateway.url, "batch", str(source), str(pieces)]
    partial = tmp_path / "pieces.partial"
    for _ in range(20):  # where this process stood still, the batch was over before it was killed
        with subprocess.Popen(
            command, env=ENVIRONMENT | settings, stderr=subprocess.PIPE
        ) as killed:
            while killed.poll() is None and _lines_of(partial) < 10:
                time.sleep(0.01)
            killed.kill()
        if not pieces.exists():
            break
        pieces.unlink()
    assert _lines_of(partial) >= 10
    settings["SOURCE_DATE_EPOCH"] = "2000"  # the first start counts
    going_on = run(gateway.url, "batch", str(source), str(pieces), **settings)
    assert "going on after " in going_on.stderr
    assert pieces.read_bytes() == whole.read_bytes()


def _lines_of(path: Path) -> int:
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def test_two_workers_serve_a_running_text_and_new_ones(client: Client, gateway: Service) -> None:
    texts: list[str] = []

    def write() -> None:
        with Client(gateway.url, api_key=API_KEY) as other:
            for _ in range(4):
                texts.append(other.generate("The sea", max_tokens=30, temperature=0).text)

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    client.scale(2)
    assert len(client.describe()[0].workers) == 2
    client.scale(1)
    for thread in threads:
        thread.join()
    assert len(client.describe()[0].workers) == 1
    assert len(texts) == 12
    assert len(set(texts)) == 1


def test_a_long_text_is_scored_whole_each_token_once(
    client: Client, gateway: Service, tmp_path: Path
) -> None:
    license = (ROOT / "LICENSE").read_text()[:2000]
    text = f" \n{license} {'x' * 900} wäs 🦉 <b>calm</b> & \n\n"
    found = score(client, text)
    tokens = client.tokenize(text)
    # Only within the long word, which is cut where it fits, may a cut change how it is encoded.
    assert abs(found.tokens - len(tokens)) <= 8
    assert found.characters == len(text)
    assert [word.text for word in found.words] == text.split()
    assert all(text.startswith(word.text, word.start) for word in found.words)
    assert sum(word.tokens for word in found.words) == found.tokens
    assert math.isclose(sum(word.bits for word in found.words), found.bits)
    assert all(word.bits > 0 for word in found.words)

    (tmp_path / "text").write_text(text)
    shown = run(gateway.url, "score", str(tmp_path / "text"), "--json", GPT2_API_KEY=API_KEY)
    assert math.isclose(json.loads(shown.stdout)["bits_per_character"], found.bits / len(text))
    drawn = page(found, text, "<text>")
    assert "&lt;b&gt;calm&lt;/b&gt;" in drawn and "<b>" not in drawn
    visible = unescape(re.sub(r"<[^>]*>", "", drawn.partition('<div class="text">')[2]))
    assert visible.rstrip("\n") == text.rstrip("\n")


def test_a_short_text_gets_the_log_probabilities_that_the_service_gives(client: Client) -> None:
    text = "The old captain looked at the sea"
    reply = client.generate(f"<|endoftext|>{text}", max_tokens=0, echo=True, logprobs=0)
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None and logprobs.token_logprobs[0] is None
    bits = -sum(each or 0.0 for each in logprobs.token_logprobs) / math.log(2)
    assert math.isclose(score(client, text).bits, bits)
    with pytest.raises(ValueError, match="no words"):
        score(client, " \n")
