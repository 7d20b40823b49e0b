"""No text, wherever it stands in a request, gives a 5xx, a broken reply or a wrong log line."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.conftest import MANAGEMENT_KEY, Service, StartService, wait_until
from tests.hostile_texts import (
    ANY_TEXT,
    JSON_ROUTES,
    TEXTS,
    assert_answered,
    spellings,
    variants,
)
from tests.patience import PATIENCE

HEADERS = [
    "accept",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "content-type",
    "cookie",
    "forwarded",
    "host",
    "if-none-match",
    "origin",
    "traceparent",
    "user-agent",
    "x-api-key",
    "x-forwarded-for",
    "x-request-id",
    "x-unknown",
]
PATHS = ["/{}", "/v1/models/{}", "/predictions/{}", "/predictions/gpt2/{}", "/page/{}", "/docs/{}"]
QUERIES = ["url={}", "model_name={}&url=gpt2.mar", "limit={}", "synchronous={}", "{}=1", "{}"]
FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Asker:
    """Asks, and remembers under which id and with which status it was answered."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._statuses: dict[str, int] = {}

    def ask(self, method: str, path: str, **options: object) -> requests.Response:
        headers = {"x-request-id": secrets.token_hex(8), **options.pop("headers", {})}  # type: ignore[dict-item]
        request = requests.Request(method, "http://-/", headers=headers, **options).prepare()  # type: ignore[arg-type]
        request.url = self._service.url + path  # as it is: nothing is escaped that the test did not
        with requests.Session() as session:
            reply = session.send(request, timeout=PATIENCE)
        assert_answered(reply)
        self._statuses[reply.headers["x-request-id"]] = reply.status_code
        return reply

    def assert_logged(self) -> None:
        """The log tells every request's own status."""

        def logged() -> dict[str, int]:
            records = [line for line in self._service.records() if "request_id" in line]
            return {line["request_id"]: line["httpRequest"]["status"] for line in records}

        wait_until(lambda: self._statuses.items() <= logged().items())


@pytest.fixture(scope="module")
def open_to_all(start_service: StartService) -> Service:
    """Long bodies are let in, the language gate shows texts, and any origin may call."""
    return start_service(
        MAX_BODY_BYTES="6000000",
        MAX_BODIES_BYTES="64000000",
        LANGUAGE_GATE="refuse",
        CORS_ORIGINS="*",
        TRUSTED_PROXY_HOPS="1",
    )


@pytest.fixture
def asker(open_to_all: Service) -> Iterator[Asker]:
    asking = Asker(open_to_all)
    yield asking
    asking.assert_logged()


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_in_any_place_of_a_body(asker: Asker, text: str) -> None:
    for path, body in JSON_ROUTES.items():
        for variant in variants(body, text) if len(text) < 10_000 else [{**body, "model": text}]:
            for spelling in spellings(variant):
                headers = {"content-type": "application/json"}
                asker.ask("POST", path, data=spelling, headers=headers)


@pytest.mark.parametrize("path", JSON_ROUTES)
def test_a_megabyte_in_each_place_of_a_body(asker: Asker, path: str) -> None:
    for variant in variants(JSON_ROUTES[path], "a" * 1_000_000):
        asker.ask("POST", path, json=variant)


def test_half_a_character_is_refused_by_name(asker: Asker) -> None:
    for field in ("model", "prompt", "user", "anything"):
        reply = asker.ask("POST", "/v1/completions", data=b'{"%s":"\\ud800"}' % field.encode())
        assert reply.status_code == 400
        assert reply.json()["error"]["param"] == field
        assert reply.json()["error"]["code"] == "lone_surrogate"


@FUZZ
@given(path=st.sampled_from(sorted(JSON_ROUTES)), text=ANY_TEXT, data=st.data())
def test_bodies(asker: Asker, path: str, text: str, data: st.DataObject) -> None:
    body = data.draw(st.sampled_from(list(variants(JSON_ROUTES[path], text))))
    asker.ask("POST", path, data=data.draw(st.sampled_from(list(spellings(body)))))


@FUZZ
@given(body=st.binary(max_size=60), path=st.sampled_from(sorted(JSON_ROUTES)), kind=ANY_TEXT)
def test_bodies_of_bytes(asker: Asker, body: bytes, path: str, kind: str) -> None:
    types = ["application/json", "text/plain", "multipart/form-data; boundary=x", ""]
    asker.ask("POST", path, data=body, headers={"content-type": types[len(kind) % 4]})


@FUZZ
@given(
    name=st.sampled_from(HEADERS),
    value=st.binary(max_size=60).map(lambda value: value.translate(None, b"\0\r\n").strip()),
    method=st.sampled_from(["GET", "POST", "OPTIONS"]),
    path=st.sampled_from(["/", "/v1/models", "/v1/completions", "/generate", "/models"]),
)
def test_header_values(asker: Asker, name: str, value: bytes, method: str, path: str) -> None:
    body = b'{"input":"x","max_tokens":1}' if method == "POST" else b""
    asker.ask(method, path, data=body, headers={name: value})


@pytest.mark.parametrize("depth", [900, 970, 980, 990, 1000, 5000, 400_000])
def test_nesting_of_any_depth(asker: Asker, depth: int) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        nested = opening * depth + b'"\\ud83d\\ude42"' + closing * depth
        for path in JSON_ROUTES:
            asker.ask("POST", path, data=b'{"prompt":%b}' % nested)
            asker.ask("POST", path, data=nested)


@FUZZ
@given(pattern=st.sampled_from(PATHS), text=st.one_of(ANY_TEXT, st.sampled_from(sorted(TEXTS))))
def test_path_segments(asker: Asker, pattern: str, text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    asker.ask("GET", pattern.format(quote(raw)[:8000]))
    asker.ask("POST", pattern.format(quote(raw)[:8000]), data=b"{}")


@FUZZ
@given(
    query=st.sampled_from(QUERIES),
    text=st.binary(max_size=40),
    method=st.sampled_from(["GET", "POST", "PUT"]),
    path=st.sampled_from(["/models", "/models/gpt2", "/v1/models", "/predictions/gpt2"]),
)
def test_query_parameters(asker: Asker, query: str, text: bytes, method: str, path: str) -> None:
    headers = {"authorization": f"Bearer {MANAGEMENT_KEY}"}
    if path == "/models/gpt2" and method == "PUT":
        query = "min_worker=x" + query  # the replicas stay as they are
    asker.ask(method, f"{path}?{query.format(quote(text))}", headers=headers, data=b"{}")


def test_more_parameters_than_are_read(asker: Asker) -> None:
    headers = {"authorization": f"Bearer {MANAGEMENT_KEY}"}
    reply = asker.ask("GET", "/models?" + "&".join(f"a{n}=1" for n in range(500)), headers=headers)
    assert reply.status_code == 400
