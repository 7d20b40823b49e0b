"""Fields and routes that clients of OpenAI's, vLLM's and Azure's services use."""

from __future__ import annotations

import math
from typing import Any

import pytest
import requests

from tests.gateway.conftest import Service, StartService, events

PROMPT = "Once upon a time there was a"


def write(service: Service, **options: Any) -> dict[str, Any]:
    reply = service.complete(PROMPT, **({"max_tokens": 40, "seed": 3} | options))
    assert reply.status_code == 200, reply.text
    choice: dict[str, Any] = reply.json()["choices"][0]
    return choice


def tokens(service: Service, text: str, **options: Any) -> list[int]:
    found: list[int] = service.post("/tokenize", json={"prompt": text} | options).json()["tokens"]
    return found


def written(service: Service, **options: Any) -> list[int]:
    """The ids of what is written, whole."""
    return tokens(service, write(service, **options)["text"], add_special_tokens=False)


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("stream", [False, True])
def test_what_ends_a_text_is_in_it_only_if_asked_for(
    service: Service, include: bool, stream: bool
) -> None:
    whole = write(service)["text"]
    asked = {"stream": stream, "include_stop_str_in_output": include, "max_tokens": 40, "seed": 3}
    stop = whole[15:19]
    token = tokens(service, whole, add_special_tokens=False)[8]
    alone = service.post("/detokenize", json={"tokens": [token]}).json()["prompt"]
    for option, end in (({"stop": [stop]}, stop), ({"stop_token_ids": [token]}, alone)):
        reply = service.complete(PROMPT, **asked, **option)
        choices = (
            [event["choices"][0] for event in events(reply)[:-1]]
            if stream
            else reply.json()["choices"]
        )
        text = "".join(choice["text"] for choice in choices)
        assert choices[-1]["finish_reason"] == "stop"
        assert text == whole[: whole.index(end) + (len(end) if include else 0)]


def test_stop_tokens_wait_for_min_tokens_and_heed_no_ignore_eos(service: Service) -> None:
    first = written(service)[0]
    assert write(service, stop_token_ids=[first], ignore_eos=True)["text"] == ""
    later = service.complete(
        PROMPT, max_tokens=20, seed=3, stop_token_ids=[first], min_tokens=10
    ).json()
    assert later["usage"]["completion_tokens"] >= 10


def test_bad_words_are_never_written(service: Service) -> None:
    bad: list[str] = []
    for _ in range(6):
        text = write(service, temperature=0, bad_words=bad)["text"]
        words = set(text.split())
        assert not words & set(bad)
        bad += sorted(word for word in words if word.isalpha())[:4]
    assert len(bad) > 12


@pytest.mark.parametrize("sampled", [{}, {"temperature": 0}, {"top_k": 1}, {"logprobs": 1}])
def test_only_allowed_tokens_are_written(service: Service, sampled: dict[str, Any]) -> None:
    allowed = set(tokens(service, " the dog cat and sea", add_special_tokens=False))
    assert set(written(service, allowed_token_ids=sorted(allowed), **sampled)) <= allowed


def test_what_leaves_no_token_is_refused_at_once_or_where_it_shows(service: Service) -> None:
    [token] = tokens(service, " the", add_special_tokens=False)
    asked = {"prompt": PROMPT, "allowed_token_ids": [token]}
    refused = service.post("/v1/completions", json=asked | {"bad_words": ["the"]})
    assert refused.status_code == 400 and refused.json()["error"]["code"] == "nothing_allowed"
    ended = service.post("/v1/completions", json=asked | {"bad_words": ["the the"]})
    assert ended.status_code == 400 and "allowed_token_ids" in ended.json()["error"]["message"]


@pytest.mark.parametrize("field", ["stop_token_ids", "allowed_token_ids"])
def test_tokens_that_do_not_exist_are_named(service: Service, field: str) -> None:
    reply = service.complete(PROMPT, **{field: [10**6]})
    assert reply.status_code == 400 and reply.json()["error"]["param"] == field


def test_prompt_logprobs_are_those_of_an_echo(service: Service) -> None:
    echoed = write(service, echo=True, logprobs=2, max_tokens=0)["logprobs"]
    both = write(service, prompt_logprobs=4, echo=True, logprobs=2, max_tokens=0)
    assert both["logprobs"] == echoed
    found = both["prompt_logprobs"]
    assert found == write(service, prompt_logprobs=4, max_tokens=1)["prompt_logprobs"]
    ids = tokens(service, PROMPT)
    assert len(found) == len(ids) and found[0] is None
    for token, value, entry in zip(ids[1:], echoed["token_logprobs"][1:], found[1:], strict=True):
        assert entry[str(token)]["logprob"] == value
        assert len(entry) in (4, 5)
        ranked = sorted(entry.values(), key=lambda one: -one["logprob"])
        assert [one["rank"] for one in ranked[:4]] == [1, 2, 3, 4]
    streamed = service.complete(PROMPT, prompt_logprobs=1, stream=True)
    assert streamed.status_code == 400
    assert streamed.json()["error"]["param"] == "prompt_logprobs"


def test_streams_echo(service: Service) -> None:
    whole = write(service, echo=True, logprobs=1)
    parts = [
        event["choices"][0]
        for event in events(
            service.complete(PROMPT, max_tokens=40, seed=3, echo=True, logprobs=1, stream=True)
        )[:-1]
    ]
    assert "".join(part["text"] for part in parts) == whole["text"]
    entries = [token for part in parts for token in part["logprobs"]["tokens"]]
    assert entries == whole["logprobs"]["tokens"]


def test_tokens_in_vllms_words_and_in_ours(service: Service) -> None:
    for path in ("/tokenize", "/v1/tokenize", "/tokenize/", "/predictions/gpt2/v1/tokenize"):
        ours = service.post(path, json={"text": "é dog"}).json()
        theirs = service.post(path, json={"prompt": "é dog", "return_token_strs": True}).json()
        assert ours["token_strs"] is None and len(theirs["token_strs"]) == theirs["count"]
        assert {**ours, "token_strs": 0} == {**theirs, "token_strs": 0}
        assert ours["max_model_len"] == service.get("/v1/models/gpt2").json()["context_length"]
    back = service.post("/detokenize", json={"tokens": ours["tokens"]}).json()
    assert back == {"text": "é dog", "prompt": "é dog"}
    for wrong in ({}, {"text": "a", "prompt": "a"}, {"messages": []}):
        assert service.post("/tokenize", json=wrong).status_code == 400
    talk = service.post("/tokenize", json={"messages": [{"role": "user", "content": "x"}]})
    assert talk.json()["error"]["code"] == "no_chat_template"


@pytest.mark.parametrize("path", ["/completions", "/completions/", "/v1/completions/"])
def test_routes_without_v1_and_with_a_slash(service: Service, path: str) -> None:
    body = {"prompt": PROMPT, "max_tokens": 3, "seed": 1}
    reply = service.post(path, json=body)
    judge = service.post("/v1/completions", json=body)
    assert reply.json()["choices"] == judge.json()["choices"]


def test_health_and_version(service: Service) -> None:
    healthy = service.get("/health")
    assert (healthy.status_code, healthy.content) == (200, b"")
    assert service.get("/version").json()["version"].count(".") == 2
    with pytest.raises(StopIteration):
        next(iter(record for record in service.records() if record.get("path") == "/health"))


def test_models_go_by_their_checkpoints_name_too(service: Service) -> None:
    card = service.get("/v1/models/gpt2").json()
    name = card["checkpoint"]
    assert name != "gpt2"
    assert service.get(f"/v1/models/{name}").json() == card
    assert service.get(f"/v1/models/{name}/").json() == card
    body = {"prompt": "x", "max_tokens": 1}
    for model in ("gpt2", name):
        reply = service.post("/v1/completions", json=body | {"model": model})
        assert reply.status_code == 200 and reply.json()["model"] == "gpt2"
        assert service.post("/tokenize", json={"prompt": "x", "model": model}).ok
    for unknown in ("other", "some/other", "some%2Fother"):
        missing = service.get(f"/v1/models/{unknown}")
        assert missing.json()["error"]["code"] == "model_not_found"
    other = service.post("/tokenize", json={"prompt": "x", "model": "other"})
    assert other.status_code == 404


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key"])
def test_a_key_comes_in_any_header(keyed: Service, header: str) -> None:
    def ask(key: str) -> int:
        value = f"Bearer {key}" if header == "authorization" else key
        return requests.get(keyed.url + "/v1/models", headers={header: value}).status_code

    assert (ask("secret"), ask("wrong")) == (200, 401)


@pytest.fixture(scope="module")
def keyed(start_service: StartService) -> Service:
    return start_service(API_KEYS="a:secret")


def test_log_probabilities_are_raw_or_processed(service: Service) -> None:
    asked = {"prompt": PROMPT, "seed": 4, "max_tokens": 6, "logprobs": 3, "temperature": 0.7}
    asked |= {"top_p": 1, "min_p": 0}

    def told(**options: Any) -> Any:
        reply = service.post("/v1/completions", json={**asked, **options})
        assert reply.status_code == 200, reply.text
        return reply.json()["choices"][0]

    raw = told(top_k=2)
    assert told(top_k=2, logprobs_mode="raw_logprobs") == raw
    processed = told(top_k=2, logprobs_mode="processed_logprobs")
    assert processed["text"] == raw["text"]
    for before, after in zip(
        raw["logprobs"]["top_logprobs"], processed["logprobs"]["top_logprobs"], strict=True
    ):
        assert len(before) >= 3 and len(after) == 2
        assert sum(map(math.exp, before.values())) < 0.9999
        assert sum(map(math.exp, after.values())) == pytest.approx(1, abs=1e-4)
    # A greedy choice is drawn from nothing; penalties change what it is made of.
    greedy = {"temperature": 0}
    assert told(**greedy, logprobs_mode="processed") == told(**greedy)
    penalized = told(**greedy, repetition_penalty=1.5, logprobs_mode="processed")
    assert penalized["logprobs"] != told(**greedy, repetition_penalty=1.5)["logprobs"]
    refused = service.post("/v1/completions", json={**asked, "logprobs_mode": "processed_logits"})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "logprobs_mode"
    assert service.get("/v1/models/gpt2").json()["defaults"]["logprobs_mode"] == "raw_logprobs"
