"""Whichever protocol asks, the text is that of `/v1/completions` for prompt, options and seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handler.requests.tensors import packed
from tests.gateway.conftest import events
from tests.gateway.routes.predictions.asking import JSON, TEXT, Server

Json = dict[str, Any]
Way = Callable[[Server, str, Json], str]
V1, V2 = "/v1/models/gpt2:predict", "/v2/models/gpt2"


def answer(reply: requests.Response) -> Any:
    assert reply.status_code == 200, reply.text
    return reply.json()


def pieces(reply: requests.Response) -> list[Json]:
    assert reply.status_code == 200, reply.text
    found = events(reply)
    assert "[DONE]" not in found
    return found


def instances(path: str, item: Callable[[str], Any]) -> Way:
    def ask(server: Server, prompt: str, options: Json) -> str:
        body = {"instances": [item(prompt)], "parameters": options}
        [text] = answer(server.send(path, json=body))["predictions"]
        return str(text)

    return ask


def tensor(prompt: str, **more: Any) -> Json:
    return {"name": "text_input", "shape": [1], "datatype": "BYTES", **more}


def infer(server: Server, prompt: str, options: Json) -> str:
    body = {"inputs": [tensor(prompt, data=[prompt])], "parameters": options}
    return str(answer(server.send(f"{V2}/infer", json=body))["outputs"][0]["data"][0])


def infer_binary(server: Server, prompt: str, options: Json) -> str:
    raw = packed([prompt])
    sized = tensor(prompt, parameters={"binary_data_size": len(raw)})
    wanted = {"binary_data_output": not server.is_bare, **options}
    head = json.dumps({"inputs": [sized], "parameters": wanted}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    headers["content-type"] = "application/octet-stream"
    reply = server.send(f"{V2}/infer", data=head + raw, headers=headers)
    assert reply.status_code == 200, reply.text
    if server.is_bare:
        return str(reply.json()["outputs"][0]["data"][0])
    length = int(reply.headers["inference-header-content-length"])
    output = json.loads(reply.content[:length])["outputs"][0]
    size = output["parameters"]["binary_data_size"]
    text = reply.content[length : length + size]
    assert int.from_bytes(text[:4], "little") == len(text) - 4
    return text[4:].decode()


def generate(server: Server, prompt: str, options: Json) -> str:
    body = {"text_input": prompt, "parameters": options}
    return str(answer(server.send(f"{V2}/generate", json=body))["text_output"])


def generate_stream(server: Server, prompt: str, options: Json) -> str:
    body = {"text_input": prompt, "parameters": options}
    found = pieces(server.send(f"{V2}/generate_stream", json=body))
    return "".join(event["text_output"] for event in found)


def tgi(path: str, **more: Any) -> Way:
    def ask(server: Server, prompt: str, options: Json) -> str:
        body = {"inputs": prompt, "parameters": renamed(options), **more}
        value = answer(server.send(path, json=body))
        text = str((value[0] if path == "/" else value)["generated_text"])
        assert path != "/" or text.startswith(prompt)
        return text.removeprefix(prompt) if path == "/" else text

    return ask


def tgi_stream(path: str, **more: Any) -> Way:
    def ask(server: Server, prompt: str, options: Json) -> str:
        body = {"inputs": prompt, "parameters": renamed(options), **more}
        found = pieces(server.send(path, json=body))
        text = "".join(event["token"]["text"] or "" for event in found)
        assert found[-1]["generated_text"] == (prompt + text if path == "/" else text)
        return text

    return ask


def renamed(options: Json) -> Json:
    """As Hugging Face calls them; TGI samples only where something asks for that."""
    return {"max_new_tokens" if name == "max_tokens" else name: options[name] for name in options}


def invocation(server: Server, prompt: str, options: Json) -> str:
    # The query reaches a bare server's handler only if the body is no JSON.
    named = {"model_name": "gpt2", **options}
    reply = server.send(
        "/invocations", params=named, data=prompt.encode(), headers={"content-type": TEXT}
    )
    assert reply.status_code == 200, reply.text
    return reply.content.decode()


def prediction(server: Server, prompt: str, options: Json) -> str:
    value = answer(server.post(json={"data": prompt, **options}, headers={"accept": JSON}))
    return str(value["choices"][0]["text"])


EVERYWHERE: dict[str, Way] = {
    "predictions": prediction,
    "invocations": invocation,
    "V1 text": instances(V1, lambda prompt: prompt),
    "V1 data": instances(V1, lambda prompt: {"data": prompt}),
    "V1 prompt": instances(V1, lambda prompt: {"data": {"prompt": prompt}}),
    "V1 at predictions": instances("/predictions/gpt2", lambda prompt: prompt),
    "V2 infer": infer,
    "V2 infer binary": infer_binary,
}
IN_FRONT: dict[str, Way] = {
    "SageMaker": instances("/invocations", lambda prompt: {"inputs": prompt}),
    "V2 generate": generate,
    "V2 generate_stream": generate_stream,
    "TGI root": tgi("/"),
    "TGI generate": tgi("/generate"),
    "TGI root stream": tgi_stream("/", stream=True),
    "TGI generate_stream": tgi_stream("/generate_stream"),
}
PROMPTS = ["Once upon a time", " The fox, said \u00e9 \U0001f98a", "A\nB ", "{}"]
OPTIONS = st.fixed_dictionaries(
    {
        "max_tokens": st.integers(1, 9),
        "seed": st.integers(0, 2**63 - 1),
        "temperature": st.sampled_from([0.3, 0.9, 1.3]),
    },
    optional={"top_k": st.integers(1, 50), "top_p": st.sampled_from([0.5, 0.95])},
)


@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
@settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(prompt=st.sampled_from(PROMPTS), options=OPTIONS)
def test_every_protocol_writes_the_same_text(server: Server, prompt: str, options: Json) -> None:
    reply = server.post("/1.0/v1/completions", json={"prompt": prompt, **options})
    expected = answer(reply)["choices"][0]["text"]
    ways = EVERYWHERE if server.is_bare else EVERYWHERE | IN_FRONT
    written = {name: ask(server, prompt, options) for name, ask in ways.items()}
    assert written == dict.fromkeys(ways, expected)


def test_a_batch_writes_what_each_of_its_texts_would_have_alone(server: Server) -> None:
    options = {"max_tokens": 5, "seed": 7, "temperature": 0.9}
    alone = [infer(server, prompt, options) for prompt in PROMPTS]
    batch = {"name": "x", "shape": [len(PROMPTS), 1], "datatype": "BYTES", "data": PROMPTS}
    body = {"inputs": [batch], "parameters": options}
    assert answer(server.send(f"{V2}/infer", json=body))["outputs"][0]["data"] == alone
    listed = {"instances": PROMPTS, "parameters": options}
    assert answer(server.send(V1, json=listed))["predictions"] == alone
