"""What a client gets, and whoever counts sees, when the handler itself fails midway."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import openai
import pytest
import requests

from tests.gateway.conftest import Service, StartService, change_archive, events, wait_until
from tests.patience import PATIENCE

SOUND = "        self.generated.append(token)\n"
# The sixth token of every text is none.
FAULTY = f"        if len(self.generated) == 5: raise FloatingPointError\n{SOUND}"
PLAIN = {"content-type": "text/plain"}


@pytest.fixture(scope="module")
def faulty(
    start_service: StartService, model_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Service:
    store = tmp_path_factory.mktemp("faulty")
    file = "handler/engine/sequence.py"
    change_archive(model_store / "gpt2.mar", store / "gpt2.mar", file, SOUND, FAULTY)
    return start_service(store=store)


def failures(service: Service) -> float:
    return service.metric("gpt2_request_failure_total")


def ask_whole(service: Service) -> requests.Response:
    return service.complete(max_tokens=9)


def ask_text(service: Service) -> requests.Response:
    return service.post("/predictions/gpt2", data=b"The old man", headers=PLAIN)


def ask_generate(service: Service) -> requests.Response:
    return service.post("/generate", json={"input": "The old man"})


@pytest.mark.parametrize("ask", [ask_whole, ask_text, ask_generate])
def test_a_whole_reply_that_fails_midway_is_no_200(
    faulty: Service, ask: Callable[[Service], requests.Response]
) -> None:
    before = failures(faulty)
    reply = ask(faulty)
    assert reply.status_code == 503, reply.text
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.json()["error"]["code"] == "engine_error"
    assert int(reply.headers["retry-after"]) >= 1
    assert failures(faulty) == before + 1


def test_a_stream_that_fails_midway_is_told_and_counted_as_a_failure(faulty: Service) -> None:
    before = failures(faulty)
    with faulty.complete(max_tokens=9, stream=True, n=2) as reply:
        assert reply.status_code == 200
        data = events(reply)
    assert data[-2]["error"]["code"] == "engine_error" and data[-1] == "[DONE]"
    assert failures(faulty) == before + 1
    assert faulty.metric("vllm:request_success_total") == 0
    wait_until(lambda: any(r.get("error") == "engine_error" for r in faulty.records()))


def test_a_failure_is_an_error_of_openais_own_client_too(faulty: Service) -> None:
    with openai.OpenAI(base_url=faulty.url + "/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.InternalServerError) as whole:
            client.completions.create(model="gpt2", prompt="A dog", max_tokens=9)
        assert whole.value.status_code == 503 and whole.value.code == "engine_error"
        stream = client.completions.create(model="gpt2", prompt="A dog", max_tokens=9, stream=True)
        pieces = []
        with pytest.raises(openai.APIError) as midway:
            for chunk in stream:
                pieces.append(chunk.choices[0].text)
    assert pieces and midway.value.code == "engine_error"


def test_a_text_that_is_not_utf8_is_a_400(faulty: Service) -> None:
    reply = faulty.post("/predictions/gpt2", data=b"The \xff", headers=PLAIN)
    assert reply.status_code == 400 and reply.json()["error"]["code"] == "invalid_text"


def test_a_text_that_looks_like_an_end_is_none_where_a_worker_is_lost(
    start_service: StartService, model_store: Path, tmp_path: Path
) -> None:
    shutil.copy(model_store / "gpt2.mar", tmp_path / "gpt2.mar")
    service = start_service(store=tmp_path)
    # Each is echoed when it was read, one after another: some of the last pieces always hold it.
    prompts = [f"{number} data: [DONE]\n\n" + "a long way " * 140 for number in range(32)]
    asked = {"prompt": prompts, "echo": True, "stream": True, "max_tokens": 60, "ignore_eos": True}
    with requests.post(
        service.url + "/v1/completions", json=asked, stream=True, timeout=PATIENCE
    ) as reply:
        lines = reply.iter_lines()
        for line in lines:
            if b'"text":"9 data: [DONE]' in line:
                break
        service.workers()[0].kill()
        rest = [line for line in lines if line.startswith(b"data: ")]
    assert rest[-1] == b"data: [DONE]"
    assert sum(b'"finish_reason":"length"' in line for line in rest) == 32, (
        "it was not gone on with"
    )
