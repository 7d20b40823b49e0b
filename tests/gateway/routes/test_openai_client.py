"""OpenAI's own package as a client."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.gateway.conftest import Service, StartService


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=service.url + "/v1", api_key="none", max_retries=0) as made:
        yield made


def test_a_completion(client: openai.OpenAI) -> None:
    reply = client.completions.create(model="gpt2", prompt="A dog", max_tokens=6, seed=1)
    assert reply.choices[0].text and reply.choices[0].finish_reason == "length"
    assert reply.usage is not None and reply.usage.completion_tokens == 6


def test_a_stream_with_usage(client: openai.OpenAI) -> None:
    stream = client.completions.create(
        model="gpt2",
        prompt="A dog",
        max_tokens=6,
        seed=1,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens == 6
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1])


def test_several_texts_of_several_prompts(client: openai.OpenAI) -> None:
    reply = client.completions.create(model="gpt2", prompt=["A", "B"], n=2, max_tokens=3)
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]


def test_echo_and_logprobs(client: openai.OpenAI) -> None:
    reply = client.completions.create(
        model="gpt2", prompt="A dog", echo=True, logprobs=2, max_tokens=3, seed=1
    )
    choice = reply.choices[0]
    assert choice.text.startswith("A dog")
    assert choice.logprobs is not None and choice.logprobs.tokens is not None
    assert choice.logprobs.token_logprobs is not None
    assert choice.logprobs.token_logprobs[0] is None
    assert "".join(choice.logprobs.tokens) == choice.text


def test_stop_ends_the_text(client: openai.OpenAI) -> None:
    reply = client.completions.create(
        model="gpt2", prompt="Once", max_tokens=200, stop=["e"], seed=3
    )
    assert "e" not in reply.choices[0].text
    assert reply.choices[0].finish_reason == "stop"


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["gpt2"]
    assert client.models.retrieve("gpt2").id == "gpt2"


def test_errors_are_openais_classes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        client.completions.create(model="gpt2", prompt="A", temperature=9)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.NotFoundError) as missing:
        client.completions.create(model="other", prompt="A")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.APIStatusError) as long:
        client.completions.create(model="gpt2", prompt="A dog. " * 200_000)
    assert long.value.status_code == 413 and long.value.code == "body_too_large"


def test_keys_and_limits_are_openais_classes(start_service: StartService) -> None:
    service = start_service(API_KEYS="a:secret", REQUESTS_PER_MINUTE="1")
    with (
        openai.OpenAI(base_url=service.url + "/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()
    with openai.OpenAI(base_url=service.url + "/v1", api_key="secret", max_retries=0) as friend:
        friend.models.list()
        with pytest.raises(openai.RateLimitError) as limited:
            friend.models.list()
    assert int(limited.value.response.headers["retry-after"]) >= 1
