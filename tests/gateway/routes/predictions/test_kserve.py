"""KServe's V1 and V2: what their documents, and TorchServe's pages on them, say."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.gateway.conftest import Service, events
from tests.gateway.routes.predictions.asking import PROMPT, WRITING, Server

V1, V2 = "/v1/models/gpt2:predict", "/v2/models/gpt2"
# Requests of TorchServe's own samples for KServe.
BERT_V1 = {"instances": [{"data": "Bloomberg has reported on the economy", "target": 0}]}
GPT_FAST = {"instances": [{"data": {"prompt": "The capital of France", "max_new_tokens": 5}}]}
BERT_BYTES = {
    "id": "d3b15cad-50a2-4eaf-80ce-8b0a428bd298",
    "inputs": [
        {"name": "4b7c", "shape": -1, "datatype": "BYTES", "data": "this year business is good"}
    ],
}
BERT_IDS = {
    "id": "33abc661",
    "inputs": [
        {"name": "input_ids", "shape": 5, "datatype": "INT64", "data": [101, 202, 303, 0, 0]},
        {"name": "attention_masks", "shape": 5, "datatype": "INT64", "data": [1, 1, 1, 0, 0]},
    ],
}


@pytest.mark.parametrize("body", [BERT_V1, GPT_FAST])
def test_torchserve_s_samples_of_v1_are_answered(server: Server, body: dict[str, Any]) -> None:
    reply = server.send(V1, json=body)
    assert reply.status_code == 200, reply.text
    [text] = reply.json()["predictions"]
    assert isinstance(text, str) and text


def test_a_text_may_travel_as_base64(server: Server) -> None:
    sent = {"b64": base64.b64encode(PROMPT.encode()).decode()}
    for instances in ([sent], [{"data": sent}], [{**sent, **WRITING}]):
        body = {"instances": instances, "parameters": WRITING}
        assert server.send(V1, json=body).json() == {"predictions": [server.text(PROMPT)]}, body


@pytest.mark.parametrize(
    ("instance", "says"),
    [
        ({"b64": "%%"}, "`b64` must be"),
        ({"b64": 3}, "`b64` must be"),
        ({"b64": "Y2Fm6Q=="}, "not UTF-8 at byte 3"),
        ({"b64": ""}, "empty"),
        ({"b64": "T25jZQ==", "data": "Once"}, "`data` and as `b64`"),
    ],
)
def test_base64_that_holds_no_text_is_refused_by_name(
    server: Server, instance: dict[str, Any], says: str
) -> None:
    reply = server.send(V1, json={"instances": [instance]})
    assert reply.status_code == 400 and says in reply.text


@pytest.mark.parametrize("body", [BERT_BYTES, BERT_IDS])
def test_torchserve_s_samples_of_v2_are_answered(server: Server, body: dict[str, Any]) -> None:
    reply = server.send(f"{V2}/infer", json=body)
    assert reply.status_code == 200, reply.text
    value = reply.json()
    assert value["id"] == body["id"]
    assert (value["model_name"], value["model_version"]) == ("gpt2", "1.0")
    output = value["outputs"][0]
    assert (output["name"], output["datatype"], output["shape"]) == ("text_output", "BYTES", [1])
    assert output["data"][0]


def test_padding_is_no_part_of_a_prompt_of_token_ids(server: Server) -> None:
    reply = server.send(f"{V2}/infer", json=BERT_IDS | {"parameters": WRITING})
    assert reply.json()["outputs"][0]["data"] == [server.text([101, 202, 303])]
    assert reply.json()["parameters"]["prompt_tokens"] == 3


@pytest.mark.parametrize(("path", "body"), [(V1, BERT_V1), (f"{V2}/infer", BERT_BYTES)])
def test_no_content_type_is_needed(server: Server, path: str, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    assert server.send(path, data=content).status_code == 200


def test_curl_s_own_content_type_does_no_harm(gateway: Server) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    for path, body in ((V1, BERT_V1), (f"{V2}/infer", BERT_BYTES)):
        content = json.dumps(body).encode()
        assert gateway.send(path, data=content, headers=headers).status_code == 200


def test_options_come_as_parameters_as_tensors_or_beside_the_text(gateway: Server) -> None:
    text = gateway.text()
    prompt = {"name": "text_input", "shape": [1, 1], "datatype": "BYTES", "data": [[PROMPT]]}
    as_tensors = [
        {"name": "max_tokens", "shape": [1], "datatype": "INT32", "data": [6]},
        {"name": "seed", "shape": [1], "datatype": "UINT64", "data": [11]},
        {"name": "temperature", "shape": [1], "datatype": "FP32", "data": [0.9]},
    ]
    texts = {name: str(value) for name, value in WRITING.items()}
    sampling = {
        "name": "sampling_parameters",
        "shape": [1],
        "datatype": "BYTES",
        "data": [json.dumps(WRITING)],
    }
    for inputs, parameters in (
        ([prompt], WRITING),
        ([prompt], texts),
        ([prompt, *as_tensors], {}),
        ([prompt, sampling], None),
    ):
        body = {"inputs": inputs, "parameters": parameters}
        reply = gateway.send(f"{V2}/infer", json=body)
        assert reply.status_code == 200, reply.text
        assert reply.json()["outputs"][0]["data"] == [text]
    for body in ({"text_input": PROMPT, **WRITING}, {"text_input": PROMPT, "parameters": texts}):
        assert gateway.send(f"{V2}/generate", json=body).json()["text_output"] == text


def test_several_texts_of_a_prompt_and_what_is_told_of_them(gateway: Server) -> None:
    three = [choice["text"] for choice in gateway.completion(n=3)["choices"]]
    shared = {**WRITING, "n": 3}
    prompt = {"name": "text_input", "shape": [1], "datatype": "BYTES", "data": [PROMPT]}
    value = gateway.send(f"{V2}/infer", json={"inputs": [prompt], "parameters": shared}).json()
    assert value["outputs"][0]["data"] == three
    assert value["outputs"][1] == {
        **{"name": "finish_reason", "datatype": "BYTES", "shape": [3], "data": ["length"] * 3}
    }
    value = gateway.send(V1, json={"instances": [PROMPT], "parameters": shared}).json()
    assert value["predictions"] == [three]
    value = gateway.send(f"{V2}/generate", json={"text_input": PROMPT, "parameters": shared}).json()
    assert value["text_output"] == three
    told = {"text_input": PROMPT, "id": "7", "parameters": {**WRITING, "details": True}}
    value = gateway.send(f"{V2}/generate", json=told).json()
    assert value["id"] == "7"
    details = value["details"]
    assert details["finish_reason"] == "length"
    assert "".join(token["text"] for token in details["logprobs"]) == value["text_output"]
    found = events(gateway.send(f"{V2}/generate_stream", json=told))
    assert [event["details"]["token"] for event in found] == details["logprobs"]
    assert found[-1]["details"]["finish_reason"] == "length"
    assert {event["id"] for event in found} == {"7"}


def test_what_is_not_known_is_named(gateway: Server) -> None:
    reply = gateway.send(V1, json=BERT_V1)
    assert reply.headers["x-ignored-fields"] == "target"
    tensor = {**BERT_BYTES["inputs"][0], "parameters": {"content_type": "str"}}  # type: ignore[dict-item]
    body = {"inputs": [tensor], "parameters": {"urgency": 3}}
    reply = gateway.send(f"{V2}/infer", json=body)
    assert reply.headers["x-ignored-fields"] == "urgency,inputs.parameters.content_type"


def tensor(**changes: Any) -> dict[str, Any]:
    item = {"name": "text_input", "shape": [1], "datatype": "BYTES", "data": ["Once"]} | changes
    return {"inputs": [item]}


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        (V1, {}, "`instances`"),
        (V1, {"instances": "Once"}, "`instances`"),
        (V1, {"instances": []}, "empty"),
        (V1, {"instances": [5]}, "Item 0"),
        (V1, {"instances": [{"data": ""}]}, "empty"),
        (V1, {"instances": ["x"], "parameters": 5}, "`parameters`"),
        (V1, {"instances": ["x"], "parameters": {"stream": True}}, "streamed"),
        (V1, {"instances": ["x", {"data": "y", "temperature": 9}]}, "item 1"),
        (f"{V2}/infer", {}, "`inputs`"),
        (f"{V2}/infer", {"inputs": []}, "`inputs`"),
        (f"{V2}/infer", {"inputs": [5]}, "`inputs[0]`"),
        (f"{V2}/infer", tensor(datatype="STRING"), "`inputs[0].datatype`"),
        (f"{V2}/infer", tensor(shape=[2]), "`inputs[0].shape`"),
        (f"{V2}/infer", tensor(shape=["1"]), "`inputs[0].shape`"),
        (f"{V2}/infer", tensor(data=[5]), "`inputs[0].data`"),
        (f"{V2}/infer", tensor(datatype="FP32", data=[0.5]), "FP32"),
        (f"{V2}/infer", tensor(datatype="INT64", data=[0.5]), "whole numbers"),
        (f"{V2}/infer", tensor(data=[""]), "empty"),
        (f"{V2}/infer", tensor(parameters={"binary_data_size": 3}), "binary_data_size"),
        (f"{V2}/infer", tensor() | {"id": 5}, "`id`"),
        (f"{V2}/infer", tensor() | {"outputs": [{"name": "logits"}]}, "`outputs`"),
        (f"{V2}/infer", {"inputs": tensor()["inputs"] * 2}, "is given 2 times"),
        (f"{V2}/infer", tensor() | {"parameters": {"temperature": 9}}, "`temperature`"),
        (f"{V2}/infer", tensor() | {"parameters": {"stream": True}}, "generate_stream"),
    ],
)
def test_what_can_not_be_served_is_told_as_one_text(
    server: Server, path: str, body: dict[str, Any], says: str
) -> None:
    reply = server.send(path, json=body)
    assert reply.status_code == 400, reply.text
    assert list(reply.json()) == ["error"]
    is_told_apart = "instances" in body or "datatype" in str(body)  # a handler sees no path
    if not server.is_bare or is_told_apart:
        assert says in reply.json()["error"]


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        (f"{V2}/generate", {}, "`text_input`"),
        (f"{V2}/generate", {"text_input": 5}, "`text_input`"),
        (f"{V2}/generate", {"text_input": ""}, "empty"),
        (f"{V2}/generate", {"text_input": "a", "prompt": "b"}, "`prompt`"),
        (f"{V2}/generate", {"text_input": "a", "parameters": {"stream": True}}, "generate_stream"),
        (f"{V2}/generate_stream", {"text_input": "a", "stream": False}, "`generate`"),
        (f"{V2}/generate_stream", {"text_input": ["a", "b"]}, "Only one completion"),
    ],
)
def test_so_is_what_generate_can_not_serve(
    gateway: Server, path: str, body: dict[str, Any], says: str
) -> None:
    reply = gateway.send(path, json=body)
    assert reply.status_code == 400, reply.text
    assert says in reply.json()["error"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/nobody:predict", 404),
        ("/v2/models/nobody/infer", 404),
        ("/v2/models/gpt2/versions/9/infer", 404),
        ("/v2/models/gpt2/nothing", 404),
        ("/v2", 405),
        ("/v1/models/gpt2:explain", 501),
        ("/v2/models/gpt2/explain", 501),
    ],
)
def test_errors_of_the_service_itself_are_texts_too(
    gateway: Server, path: str, status: int
) -> None:
    reply = gateway.send(path, json=BERT_V1)
    assert reply.status_code == status
    assert isinstance(reply.json()["error"], str)


def test_broken_binary_requests_are_refused(server: Server) -> None:
    for length, body in (("9", b"{}"), ("x", b"{}"), ("2", b"{}"), ("2", b"[]"), ("3", b"{}x")):
        headers = {"inference-header-content-length": length}
        reply = server.send(f"{V2}/infer", data=body, headers=headers)
        assert reply.status_code == 400, (length, reply.text)
        assert isinstance(reply.json()["error"], str)
    headers = {"inference-header-content-length": "0"}
    reply = server.send(f"{V2}/infer", data=PROMPT.encode(), headers=headers)
    assert reply.status_code == 200, reply.text  # the body is the text


def test_v2_says_what_is_there(service: Service) -> None:
    assert service.get("/v2").json()["extensions"]
    assert service.get("/v2/health/live").json() == {"live": True}
    assert service.get("/v2/health/ready").json()["ready"] is True
    for version in ("", "/versions/1.0"):
        about = service.get(f"{V2}{version}").json()
        assert about["name"] == "gpt2" and about["versions"] == ["1.0"]
        assert about["inputs"][0] == {"name": "text_input", "datatype": "BYTES", "shape": [-1]}
        assert about["outputs"][0]["name"] == "text_output"
        ready = service.get(f"{V2}{version}/ready")
        assert ready.status_code == 200 and ready.json() == {"name": "gpt2", "ready": True}
    for path in ("/v2/models/x", "/v2/models/x/ready", f"{V2}/versions/9/ready"):
        missing = service.get(path)
        assert missing.status_code == 404 and isinstance(missing.json()["error"], str)


def test_a_model_is_told_for_openai_s_readers_and_for_kserve_s(service: Service) -> None:
    card = service.get("/v1/models/gpt2").json()
    assert (card["id"], card["object"]) == ("gpt2", "model")
    assert (card["name"], card["ready"]) == ("gpt2", True)
    listed = service.get("/v1/models").json()
    assert listed["models"] == ["gpt2"] and listed["data"] == [card]
