"""The archive alone: registered on a TorchServe that nobody configured, it serves all there is."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from gateway.torchserve import find_java
from tests.conftest import free_ports

TIMEOUT = 60
# TorchServe's own defaults but for the ports, and for its keys, which no test could know.
PROPERTIES = """\
inference_address=http://127.0.0.1:{}
management_address=http://127.0.0.1:{}
metrics_address=http://127.0.0.1:{}
grpc_inference_port={}
grpc_management_port={}
disable_token_authorization=true
enable_model_api=true
"""


@pytest.fixture(scope="module")
def stock(model_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """`torchserve --start` as its manual has it, in a directory that holds the archive alone."""
    directory = tmp_path_factory.mktemp("stock")
    (directory / "store").mkdir()
    shutil.copy(model_store / "gpt2.mar", directory / "store")
    ports = free_ports(5)
    (directory / "config.properties").write_text(PROPERTIES.format(*ports))
    java = find_java()
    environment = {
        "HOME": str(directory),
        "JAVA_HOME": str(java.parent.parent),
        "PATH": f"{Path(sys.executable).parent}:{java.parent}:{os.environ['PATH']}",
        "TMPDIR": str(directory),
    }
    command = ["torchserve", "--start", "--foreground", "--ncs"]
    command += ["--model-store", "store", "--ts-config", "config.properties"]
    with (directory / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        urls = {"inference": f"http://127.0.0.1:{ports[0]}"}
        urls["management"] = f"http://127.0.0.1:{ports[1]}"
        deadline = time.monotonic() + TIMEOUT
        while not listens(urls["inference"]):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        yield urls
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def listens(url: str) -> bool:
    try:
        return requests.get(f"{url}/ping", timeout=5).ok
    except requests.RequestException:
        return False


def test_it_is_registered_streams_scores_and_goes(stock: dict[str, str]) -> None:
    query: dict[str, Any] = {"url": "gpt2.mar", "initial_workers": 1, "synchronous": "true"}
    models = f"{stock['management']}/models"
    registered = requests.post(models, params=query, timeout=TIMEOUT)
    assert registered.status_code == 200, registered.text

    predictions = f"{stock['inference']}/predictions/gpt2"
    body = {"prompt": "Once upon a time", "seed": 1, "max_tokens": 12}
    whole = requests.post(predictions, json=body, timeout=TIMEOUT).json()["choices"][0]["text"]
    assert whole
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
