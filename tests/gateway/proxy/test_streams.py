"""Streams as clients get them: events alone, whatever gateway and handler say to each other."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import requests

from handler.replies import sideband
from tests.gateway.conftest import Service, StartService, wait_until


@pytest.fixture(scope="module")
def strict(start_service: StartService) -> Service:
    return start_service(STRICT_FIELDS="1", CORS_ORIGINS="*")


def raw(service: Service, path: str = "/v1/completions", **options: Any) -> requests.Response:
    body = {"prompt": "The king", "max_tokens": 12, "stream": True} | options
    return service.post(path, json=body)


def record(service: Service, reply: requests.Response) -> dict[str, Any]:
    """The line of the log of a request."""
    name = reply.headers["x-request-id"]

    def lines() -> list[dict[str, Any]]:
        return [line for line in service.records() if line.get("request_id") == name]

    wait_until(lambda: bool(lines()))
    return lines()[0]


STREAMS: list[dict[str, Any]] = [
    {},
    {"n": 5},
    {"n": 3, "prompt": ["The king", "A ship"], "seed": 4},
    {"echo": True, "logprobs": 3},
    {"stream_options": {"include_usage": True, "continuous_usage_stats": True}, "n": 2},
    {"max_tokens": 0},
    {"prompt": [5 + number % 99 for number in range(700)], "truncate_prompt": True},
    {"prompt": ": usage\n\n: \x1e{}\n\ndata: [DONE]\n\n", "echo": True},
]


@pytest.mark.parametrize("options", STREAMS, ids=str)
@pytest.mark.parametrize("path", ["/v1/completions", "/predictions/gpt2"])
def test_a_stream_is_events_and_nothing_else(
    service: Service, path: str, options: dict[str, Any]
) -> None:
    """Every event is one line `data: ` and a blank one: what the oldest readers can read."""
    reply = raw(service, path, **options)
    *events, rest = reply.content.split(b"\n\n")
    assert rest == b"" and events[-1] == b"data: [DONE]"
    for event in events[:-1]:
        assert event.startswith(b"data: {") and b"\n" not in event and b"\r" not in event
        assert "choices" in json.loads(event[6:])
    assert sideband.MARK.encode() not in reply.content
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"


def go_events_before_3_43(stream: bytes) -> list[bytes]:
    """How OpenAI's Go SDK read events before 3.43: any blank line ends one, comments included."""
    found, data = [], b""
    for line in stream.split(b"\n")[:-1]:
        if not line:
            found.append(data)
            data = b""
        name, _, value = line.partition(b":")
        if name == b"data":
            data += value.removeprefix(b" ") + b"\n"
    return found


def test_old_go_clients_find_json_in_every_event_up_to_the_end(service: Service) -> None:
    found = go_events_before_3_43(raw(service, n=2).content)
    assert found[-1] == b"[DONE]\n"
    assert all(json.loads(data)["object"] == "text_completion" for data in found[:-1])


@pytest.mark.parametrize("options", STREAMS, ids=str)
def test_the_log_counts_a_stream_as_its_whole_reply_does(
    service: Service, options: dict[str, Any]
) -> None:
    options = {"seed": 9} | options
    whole = raw(service, **options | {"stream": False, "stream_options": None}).json()
    line = record(service, raw(service, **options))
    assert line["prompt_tokens"] == whole["usage"]["prompt_tokens"]
    assert line["completion_tokens"] == whole["usage"]["completion_tokens"]
    reasons = [choice["finish_reason"] for choice in whole["choices"]]
    assert sorted(line["finish_reasons"]) == sorted(reasons)


@pytest.mark.parametrize("value", ["1", "0" * 32])
def test_a_client_that_asks_for_frames_gets_none(service: Service, value: str) -> None:
    body = {"prompt": "The king", "max_tokens": 3, "stream": True}
    headers = {sideband.HEADER: value}
    reply = service.post("/v1/completions", json=body, headers=headers)
    assert reply.status_code == 200 and sideband.MARK.encode() not in reply.content


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/completions", "/predictions/gpt2/1.0"])
def test_ignored_fields_are_named_and_counted(service: Service, path: str, stream: bool) -> None:
    before = service.metric("gpt2_requests_with_ignored_fields_total")
    unknown = {"store": True, "best\r\nx-evil: 1": 2, "é": 3, "y" * 900: 4}
    reply = raw(service, path, stream=stream, **unknown)
    assert reply.status_code == 200
    named = "store,best%0D%0Ax-evil%3A%201,%C3%A9"
    assert reply.headers["x-ignored-fields"] == named
    assert "x-evil" not in reply.headers
    assert record(service, reply)["ignored_fields"] == named
    assert service.metric("gpt2_requests_with_ignored_fields_total") == before + 1


def test_the_plain_route_names_what_it_ignores(service: Service) -> None:
    reply = service.post("/generate", json={"input": "A dog", "temperature": 0, "ö": 1})
    assert reply.status_code == 200 and reply.headers["x-ignored-fields"] == "temperature,%C3%B6"


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/v1/completions", {"prompt": "x", "temprature": 1}, "temprature"),
        ("/v1/completions", {"prompt": "x", "stream": True, "a\nb": 1}, "a\nb"),
        (
            "/v1/completions",
            {"prompt": "x", "stream": True, "stream_options": {"pace": 1}},
            "stream_options.pace",
        ),
        ("/predictions/gpt2", {"input": "x", "inputz": "x"}, "inputz"),
        ("/v1/tokenize", {"text": "x", "modle": "gpt2"}, "modle"),
        ("/generate", {"input": "x", "max_tokens": 3}, "max_tokens"),
    ],
)
def test_unknown_fields_are_refused_where_that_is_set(
    strict: Service, path: str, body: dict[str, Any], name: str
) -> None:
    reply = strict.post(path, json=body)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["param"], error["code"]) == (name, "unknown_field")


def test_a_page_of_another_site_may_read_what_was_ignored(strict: Service) -> None:
    reply = strict.get("/health/live", headers={"origin": "https://any.example"})
    assert "x-ignored-fields" in reply.headers["access-control-expose-headers"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_says_what_its_text_follows_from(service: Service, stream: bool) -> None:
    card = service.get("/v1/models").json()["data"][0]
    reply = raw(service, "/v1/completions", stream=stream)
    assert reply.headers["x-model-digest"] == card["content_sha256"]
    seed = int(reply.headers["x-seed"])
    again = raw(service, "/v1/completions", stream=stream, seed=seed)
    assert again.headers["x-seed"] == str(seed)
    assert texts(again) == texts(reply) != ""


def texts(reply: requests.Response) -> str:
    events = re.findall(r"^(?:data: )?(\{.*)$", reply.content.decode(), re.MULTILINE)
    return "".join(c["text"] for event in events for c in json.loads(event)["choices"])
