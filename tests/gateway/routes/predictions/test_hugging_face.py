"""Requests in Hugging Face's shape mean what they mean there."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from tests.gateway.routes.predictions.asking import (
    END_OF_TEXT,
    OTHER,
    PROMPT,
    Server,
)


def test_hugging_face_s_form_means_what_the_pipeline_means(server: Server) -> None:
    def ask(inputs: Any = PROMPT, **parameters: Any) -> Any:
        reply = server.post(json={"inputs": inputs, "parameters": parameters})
        assert reply.status_code == 200, reply.text
        return reply.json()

    writing = {"max_new_tokens": 6, "seed": 11, "temperature": 0.9}
    text = server.text()
    assert ask(**writing) == [{"generated_text": PROMPT + text}]
    assert ask(**writing, return_full_text=True) == [{"generated_text": PROMPT + text}]
    assert ask(**writing, return_full_text=False) == [{"generated_text": text}]
    greedy = server.text(temperature=0)
    assert ask(**writing, do_sample=False) == [{"generated_text": PROMPT + greedy}]
    three = [choice["text"] for choice in server.completion(n=3)["choices"]]
    expected = [{"generated_text": PROMPT + each} for each in three]
    assert ask(**writing, num_return_sequences=3) == expected
    both = [[{"generated_text": each + server.text(each)}] for each in (PROMPT, OTHER)]
    assert ask([PROMPT, OTHER], **writing) == both
    stopped = server.text(stop=["e"])
    for name in ("stop", "stop_strings", "stop_sequence"):
        assert ask(**writing, **{name: ["e"]}) == [{"generated_text": PROMPT + stopped}]
    refused = server.post(json={"inputs": PROMPT, "parameters": {"typical_p": 0.9}})
    assert refused.status_code == 400
    assert "`typical_p`" in refused.json()["error"]["message"]
    options = {"inputs": PROMPT, "options": {"use_cache": False}}
    reply = server.post(json=options)
    assert list(reply.json()[0]) == ["generated_text"]
    assert reply.headers["x-ignored-fields"] == "options"


def test_hugging_face_s_lengths_are_those_of_transformers(server: Server) -> None:
    prompt_tokens = server.completion()["usage"]["prompt_tokens"]
    # A bias that ends every text at once, unless `min_new_tokens` holds it back.
    end = {"logit_bias": {str(END_OF_TEXT): 100}}
    for parameters, expected in (
        ({"max_length": prompt_tokens + 4}, server.text(max_tokens=4)),
        ({"max_length": 3, "max_new_tokens": 5}, server.text(max_tokens=5)),
        ({"max_new_tokens": 5, **end}, ""),
        ({"max_new_tokens": 5, "min_new_tokens": 3, **end}, server.text(max_tokens=3)),
    ):
        options = {**parameters, "seed": 11, "temperature": 0.9, "return_full_text": False}
        reply = server.post(json={"inputs": PROMPT, "parameters": options})
        assert reply.json() == [{"generated_text": expected}], parameters
    for parameters in ({"max_length": 3}, {"min_new_tokens": 5, "max_new_tokens": 4}):
        refused = server.post(json={"inputs": PROMPT, "parameters": parameters})
        assert refused.status_code == 400
        assert next(iter(parameters)).replace("_new", "") in refused.json()["error"]["message"]


def test_hugging_face_s_details_and_streams_tell_every_token(server: Server) -> None:
    client = InferenceClient(model=f"{server.url}/predictions/gpt2")
    options: dict[str, Any] = {"max_new_tokens": 6, "seed": 11, "temperature": 0.9}
    whole = server.completion(logprobs=0)
    [choice] = whole["choices"]
    told = client.text_generation(PROMPT, details=True, **options)
    assert told.generated_text == PROMPT + choice["text"]
    assert told.details.generated_tokens == whole["usage"]["completion_tokens"]
    assert told.details.finish_reason == "length"
    assert told.details.seed == 11
    assert "".join(token.text for token in told.details.tokens) == choice["text"]
    logprobs = [token.logprob for token in told.details.tokens]
    assert logprobs == pytest.approx(choice["logprobs"]["token_logprobs"])

    events = list(client.text_generation(PROMPT, details=True, stream=True, **options))
    assert [event.token.id for event in events] == [token.id for token in told.details.tokens]
    assert [event.generated_text for event in events[:-1]] == [None] * 5
    assert events[-1].generated_text == PROMPT + choice["text"]
    assert events[-1].details.finish_reason == "length"
    pieces = client.text_generation(PROMPT, stream=True, **options)
    assert "".join(pieces) == choice["text"]
    stopped = client.text_generation(PROMPT, details=True, stop=[choice["text"][3]], **options)
    assert stopped.details.finish_reason == "stop_sequence"
    body = {"inputs": PROMPT, "parameters": {"logit_bias": {str(END_OF_TEXT): 100}}}
    ended = server.post(json=body | {"stream": True}).text
    assert '"eos_token"' in ended and '"special":true' in ended and "[DONE]" not in ended
    several = server.post(json={"inputs": [PROMPT, OTHER], "stream": True})
    assert several.status_code == 400


def test_hugging_face_s_own_client_writes(server: Server) -> None:
    client = InferenceClient(model=f"{server.url}/predictions/gpt2")
    options: dict[str, Any] = {"max_new_tokens": 6, "seed": 11, "temperature": 0.9}
    assert client.text_generation(PROMPT, **options) == PROMPT + server.text()
    alone = client.text_generation(PROMPT, **options, return_full_text=False)
    assert alone == server.text()
    with pytest.raises(HfHubHTTPError, match="`temperature` must be"):
        client.text_generation(PROMPT, temperature=9)
    greedy = client.text_generation(PROMPT, max_new_tokens=6, do_sample=False)
    assert greedy == PROMPT + server.text(temperature=0)


# What is refused
