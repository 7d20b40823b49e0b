"""Chats of a model that has a chat template, with OpenAI's own package and without."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.conftest import EMBEDDED_MODEL, ROOT
from tests.gateway.conftest import Service, StartService, events

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'robot' %}{{ raise_exception('no robots') }}{% endif %}"
    "{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
TALK: Any = [
    {"role": "system", "content": "You are a captain."},
    {"role": "user", "content": "Where is the ship?"},
]
PROMPT = "system: You are a captain.<|endoftext|>user: Where is the ship?<|endoftext|>assistant:"


@pytest.fixture(scope="module")
def talker(start_service: StartService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    folder = tmp_path_factory.mktemp("talker")
    pack_talker(folder)
    return start_service(store=folder, MODEL_NAME="talker", MODEL_ARCHIVE="talker.mar")


def pack_talker(folder: Path) -> None:
    """Pack the embedded model with a chat template."""
    template = folder / "template.jinja"
    template.write_text(TEMPLATE)
    command = [sys.executable, "-m", "archive", "--model", str(EMBEDDED_MODEL), "--name", "talker"]
    command += ["--output", str(folder), "--chat-template", str(template), "--precision", "fp32"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=300, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def client(talker: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=talker.url + "/v1", api_key="none", max_retries=0) as made:
        yield made


def completion(talker: Service, prompt: str = PROMPT, **options: Any) -> Any:
    """What `/v1/completions` makes of a prompt that was rendered by hand."""
    options = {"add_special_tokens": False, "seed": 7, "max_tokens": 12} | options
    reply = talker.complete(prompt, **options)
    assert reply.status_code == 200, reply.text
    return reply.json()


def chat(talker: Service, messages: Any = TALK, path: str = "/v1", **options: Any) -> Any:
    body = {"messages": messages, "seed": 7, "max_completion_tokens": 12} | options
    return talker.post(path + "/chat/completions", json=body)


def test_a_chat_is_the_completion_of_what_the_template_makes_of_it(
    talker: Service, client: openai.OpenAI
) -> None:
    reply = client.chat.completions.create(
        model="talker", messages=TALK, seed=7, max_completion_tokens=12
    )
    whole = completion(talker)
    message = reply.choices[0].message
    assert message.role == "assistant" and message.content == whole["choices"][0]["text"]
    assert reply.object == "chat.completion" and reply.id.startswith("chatcmpl-")
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == whole["usage"]["prompt_tokens"]
    assert reply.usage.completion_tokens == 12
    assert reply.choices[0].finish_reason == "length"
    bare = chat(talker, add_generation_prompt=False).json()["choices"][0]["message"]["content"]
    without = completion(talker, PROMPT.removesuffix("assistant:"))
    assert bare == without["choices"][0]["text"]
    of_archive = chat(talker, path="/predictions/talker/v1").json()
    assert of_archive["choices"][0]["message"]["content"] == message.content


def test_a_stream_says_the_same_in_deltas(talker: Service, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="talker",
        messages=TALK,
        seed=7,
        n=2,
        max_completion_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    whole = completion(talker, n=2)
    texts, roles = ["", ""], [0, 0]
    for chunk in chunks[:-1]:
        assert chunk.object == "chat.completion.chunk" and chunk.usage is None
        choice = chunk.choices[0]
        texts[choice.index] += choice.delta.content or ""
        roles[choice.index] += choice.delta.role == "assistant"
    assert texts == [choice["text"] for choice in whole["choices"]]
    assert roles == [1, 1]
    assert chunks[-1].choices == [] and chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 24


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_have_the_shape_of_chats(talker: Service, stream: bool) -> None:
    reply = chat(talker, logprobs=True, top_logprobs=2, stream=stream)
    choices = (
        [event["choices"][0] for event in events(reply)[:-1]] if stream else reply.json()["choices"]
    )
    found = [token for choice in choices for token in choice["logprobs"]["content"]]
    judge = completion(talker, logprobs=2)["choices"][0]["logprobs"]
    assert [token["token"] for token in found] == judge["tokens"]
    assert [token["logprob"] for token in found] == judge["token_logprobs"]
    for token in found:
        assert len(token["top_logprobs"]) == 2
        assert bytes(token["bytes"]).decode() == token["token"]
    plain = chat(talker, logprobs=True).json()["choices"][0]["logprobs"]["content"]
    assert [token["top_logprobs"] for token in plain] == [[]] * 12
    assert chat(talker).json()["choices"][0]["logprobs"] is None


def test_without_a_bound_an_answer_ends_by_itself(talker: Service) -> None:
    body = {"messages": TALK, "seed": 1, "logit_bias": {"0": 8}}
    reply = talker.post("/v1/chat/completions", json=body).json()
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert chat(talker, stop=["e"], seed=3).json()["choices"][0]["finish_reason"] in (
        "stop",
        "length",
    )


def test_messages_may_hold_parts_of_text_and_speak_as_developers(talker: Service) -> None:
    parts = [{"type": "text", "text": "Where is"}, {"type": "text", "text": "the ship?"}]
    talk = [{"role": "developer", "content": TALK[0]["content"]}, {"role": "user"}]
    talk[1] |= {"content": parts}
    prompt = PROMPT.replace("Where is the ship?", "Where is\nthe ship?")
    reply = chat(talker, talk).json()
    assert (
        reply["choices"][0]["message"]["content"]
        == completion(talker, prompt)["choices"][0]["text"]
    )


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"messages": None}, "messages", "list_type"),
        ({"messages": []}, "messages", "too_short"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages", "string_type"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages", "chat_template_error"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages", "tools_not_supported"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages",
            "content",
        ),
        ({"tools": [{"type": "function"}]}, "tools", "tools_not_supported"),
        ({"functions": [{}]}, "functions", "tools_not_supported"),
        ({"tool_choice": "required"}, "tool_choice", "tools_not_supported"),
        ({"top_logprobs": 2}, "top_logprobs", None),
        (
            {"messages": [{"role": "user", "content": "ship " * 9000}]},
            "messages",
            "context_length_exceeded",
        ),
    ],
)
def test_what_is_not_allowed_is_a_400_that_names_it(
    talker: Service, change: dict[str, Any], param: str, code: str | None
) -> None:
    reply = talker.post("/v1/chat/completions", json={"messages": TALK} | change)
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert (error["param"], error["code"]) == (param, code)
    assert "`prompt`" not in error["message"]


def test_tools_that_ask_for_nothing_are_no_fault(talker: Service) -> None:
    reply = chat(talker, tools=[], tool_choice="none", parallel_tool_calls=True, store=False)
    assert reply.status_code == 200 and reply.headers["x-ignored-fields"] == "store"


def test_a_model_without_a_template_says_what_to_do(service: Service) -> None:
    reply = chat(service)
    error = reply.json()["error"]
    assert reply.status_code == 400 and error["code"] == "no_chat_template"
    assert "/v1/completions" in error["message"] and "--chat-template" in error["message"]
    assert service.get("/v1/models").json()["data"][0]["chat_template"] is False


def test_a_chats_stream_outlives_its_worker(talker: Service) -> None:
    asked = {"messages": TALK, "seed": 7, "max_completion_tokens": 300, "ignore_eos": True}
    asked |= {"stream": True, "logprobs": True, "top_logprobs": 1, "n": 2}

    def told(*, kills: bool) -> list[Any]:
        with talker.post("/v1/chat/completions", json=asked, stream=True) as reply:
            assert reply.status_code == 200, reply.text
            found = []
            for line in reply.iter_lines(chunk_size=1):
                if line and not found and kills:
                    for worker in talker.workers():
                        worker.kill()
                if line:
                    found.append(line.removeprefix(b"data: "))
        assert found.pop() == b"[DONE]"
        known = [json.loads(event) for event in found]
        assert len({(event["id"], event["created"]) for event in known}) == 1
        # In what order the choices' events come depends on the time.
        return sorted(
            (event["choices"] for event in known), key=lambda choices: int(choices[0]["index"])
        )

    undisturbed = told(kills=False)
    before = talker.metric("gpt2_request_replays_total")
    assert told(kills=True) == undisturbed
    assert talker.metric("gpt2_request_replays_total") > before
