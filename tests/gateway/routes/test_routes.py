"""What each route answers."""

from __future__ import annotations

import pytest
import requests

from tests.gateway.conftest import Service, events
from tests.patience import PATIENCE


def test_the_plain_route_answers_as_the_service_it_replaces(service: Service) -> None:
    reply = service.post("/generate", json={"input": "Once upon a time"})
    assert reply.status_code == 200
    body = reply.json()["body"]
    assert reply.json()["version"] == "v1.0.0"
    assert body["query"] == "Once upon a time"
    assert body["generated"]
    assert body["result"] == body["query"] + body["generated"]


@pytest.mark.parametrize("value", [{}, {"input": 3}, {"input": None}, {"prompt": "x"}])
def test_the_plain_route_names_the_field_that_is_wrong(service: Service, value: object) -> None:
    reply = service.post("/generate", json=value)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "input"


def test_a_completion_has_openais_shape(service: Service) -> None:
    reply = service.complete(max_tokens=5, seed=1).json()
    assert reply["object"] == "text_completion"
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 5


def test_a_stream_says_the_same_as_the_whole_reply(service: Service) -> None:
    whole = service.complete(max_tokens=30, seed=7).json()["choices"][0]["text"]
    with service.complete(max_tokens=30, seed=7, stream=True) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        data = events(reply)
    assert data[-1] == "[DONE]"
    assert "".join(event["choices"][0]["text"] for event in data[:-1]) == whole


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ({"n": 2.0, "max_tokens": 2.0}, 2),
        ({"n": 2, "best_of": 5.0}, 2),
        ({"prompt": None, "model": None, "n": None, "best_of": None}, 1),
        ({"prompt": None, "input": "A dog"}, 1),
        ({"input": None}, 1),
        ({"prompt": [[5.0, 6], [7]], "stream": None, "echo": None}, 2),
        ({"prompt": [f"{number} ships" for number in range(20)], "n": 2, "max_tokens": 2}, 40),
    ],
    ids=str,
)
def test_numbers_and_nulls_are_read_as_peers_read_them(
    service: Service, options: dict[str, object], texts: int
) -> None:
    reply = service.post("/v1/completions", json={"prompt": "A dog", "max_tokens": 3} | options)
    assert reply.status_code == 200, reply.text
    choices = reply.json()["choices"]
    assert [choice["index"] for choice in choices] == list(range(texts))


@pytest.mark.parametrize(
    "options",
    [
        {"n": 97},
        {"best_of": 97},
        {"prompt": ["a"] * 97},
        {"n": 1e300},
        {"prompt": ["a"] * 90, "best_of": 10**4299},  # a product that Python does not write out
    ],
    ids=lambda options: "x".join(options),
)
def test_more_texts_than_a_model_holds_are_refused_by_the_number_it_says(
    service: Service, options: dict[str, object]
) -> None:
    card = service.get("/v1/models/gpt2").json()
    most = card["limits"]["texts"]
    reply = service.post("/v1/completions", json={"prompt": "A", "max_tokens": 1} | options)
    error = reply.json()["error"]
    assert reply.status_code == 400 and error["code"] == "too_many_texts"
    assert f"(prompts x `n` or `best_of`); at most {most} are allowed" in error["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/predictions/gpt2",
        "/predictions/gpt2/1.0",
        "/predictions/gpt2/v1/completions",
        "/predictions/gpt2/1.0/v1/completions",
    ],
)
def test_torchserves_own_paths_lead_to_the_model(service: Service, path: str) -> None:
    reply = service.post(path, json={"input": "A dog", "max_tokens": 2, "seed": 3})
    assert reply.status_code == 200
    assert reply.json()["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("headers", [{"content-type": "text/plain"}, {}])
def test_a_text_file_comes_back_continued(
    service: Service, method: str, headers: dict[str, str]
) -> None:
    url = f"{service.url}/predictions/gpt2"
    reply = requests.request(method, url, data=b"The old man", headers=headers, timeout=PATIENCE)
    assert reply.status_code == 200
    assert reply.headers["content-type"].startswith("text/plain")
    assert len(reply.text.split()) > 3


def test_a_clients_content_type_goes_no_further(service: Service) -> None:
    headers = {"content-type": "text/plain; x=" + "y" * 9000}
    reply = service.post("/predictions/gpt2", data=b"The old man", headers=headers)
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("path", ["/models", "/models/gpt2", "/models/gpt2/1.0"])
def test_head_is_answered_as_get_is(service: Service, path: str) -> None:
    reply = service.manage("HEAD", path)
    assert reply.status_code == 200 and not reply.content


def test_the_model_list_names_the_checkpoint(service: Service) -> None:
    listed = service.get("/v1/models").json()
    card = listed["data"][0]
    assert (card["id"], card["object"], card["version"]) == ("gpt2", "model", "1.0")
    assert card["checkpoint"] and card["precision"] and card["limits"]["slots"] >= 1
    assert service.get("/v1/models/gpt2").json() == card


def test_tokens_and_back(service: Service) -> None:
    text = "Hello, wörld \N{SNOWMAN}"
    tokens = service.post("/v1/tokenize", json={"text": text}).json()
    assert tokens["count"] == len(tokens["tokens"]) == len(tokens["texts"])
    back = service.post("/v1/detokenize", json={"tokens": tokens["tokens"]}).json()
    assert back["text"] == text


def test_health_has_three_names(service: Service) -> None:
    assert service.get("/health/live").status_code == 200
    assert service.get("/health/ready").json() == {"status": "ready"}
    assert service.get("/health_liveness").json() == {"status": "success"}


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nothing", 404, "not_found_error"),
        ("GET", "/v1/completions", 405, "invalid_request_error"),
        ("PUT", "/", 405, "invalid_request_error"),
        ("POST", "/v1/models", 405, "invalid_request_error"),
        ("POST", "/predictions/other", 404, "not_found_error"),
        ("POST", "/predictions/gpt2/9.9", 404, "not_found_error"),
        ("POST", "/predictions/gpt2--2", 404, "not_found_error"),
        ("GET", "/v1/models/other", 404, "not_found_error"),
        ("GET", "/page/../app.py", 404, "not_found_error"),
        ("GET", "/page/%2e%2e/app.py", 404, "not_found_error"),
        ("POST", "/explanations/gpt2", 501, "not_implemented_error"),
    ],
)
def test_errors_have_openais_shape(
    service: Service, method: str, path: str, status: int, kind: str
) -> None:
    request = requests.Request(method, service.url, json={} if method == "POST" else None)
    prepared = request.prepare()
    prepared.url = service.url + path  # as it stands: requests would tidy it up
    with requests.Session() as session:
        reply = session.send(prepared, timeout=PATIENCE)
    assert reply.status_code == status
    assert reply.json()["error"]["type"] == kind


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'"text"', None),
        (b'{"prompt": NaN}', None),
        (b'{"max_tokens": -1}', "max_tokens"),
        (b'{"n": 99}', "n"),
        (b'{"n": 1.5}', "n"),
        (b'{"model": 3}', "model"),
        (b"\xff\xfe", None),
        (b"[" * 100_000, None),
    ],
)
def test_a_bad_body_is_a_400_that_says_why(
    service: Service, body: bytes, param: str | None
) -> None:
    reply = service.post("/v1/completions", data=body)
    assert reply.status_code == 400, reply.text
    error = reply.json()["error"]
    assert error["type"] == "invalid_request_error" and error["message"]
    assert param is None or error["param"] == param
    assert "Traceback" not in reply.text and "/" not in error["message"].replace("/1.1", "")


def test_an_unknown_model_is_told_which_there_are(service: Service) -> None:
    reply = service.post("/v1/completions", json={"model": "gpt-5", "prompt": "x"})
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "model_not_found"
    assert "`gpt2`" in reply.json()["error"]["message"]


def test_a_request_id_is_kept_or_made(service: Service) -> None:
    given = service.get("/health/live", headers={"x-request-id": "abc-123"})
    assert given.headers["x-request-id"] == "abc-123"
    hostile = service.get("/health/live", headers={"x-request-id": "a b\tc"})
    assert hostile.headers["x-request-id"] != "a b\tc"
    assert len(hostile.headers["x-request-id"]) == 24


def test_the_page_is_served_with_a_strict_policy(service: Service) -> None:
    page = service.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    again = service.get("/", headers={"if-none-match": page.headers["etag"]})
    assert again.status_code == 304 and not again.content
