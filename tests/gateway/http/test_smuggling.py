"""Requests of odd shapes: none reaches TorchServe as something it should not see."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from pathlib import Path

import pytest

from tests.gateway.conftest import MANAGEMENT_KEY, Service, StartStandIn
from tests.patience import PATIENCE

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
# What the gateway asks all the time, for itself.
LOOK = re.compile(rb"GET /models/[a-z0-9]+/1\.0 HTTP/1\.1\r\n")
SIDEBAND = re.compile(
    rb"x-gpt2-(sideband: [0-9a-f]{32}|identity: [0-9a-f]{32} [0-9]{10} [0-9]{1,19})\r\n"
)


class Watched:
    """A real gateway, before a listener that keeps every byte it gets."""

    def __init__(self, service: Service, record: Path) -> None:
        self.service = service
        self._record = record
        self._num_seen = 0
        self.reached()  # what it asked at its start

    def reached(self) -> list[tuple[str, bytes]]:
        """The requests that reached a port of TorchServe since the last call."""
        lines = self._record.read_text(encoding="ascii").splitlines()
        new, self._num_seen = lines[self._num_seen :], len(lines)
        requests = [(port, text.encode("latin-1")) for port, text in map(json.loads, new)]
        return [(port, data) for port, data in requests if not LOOK.match(data)]

    def assert_nothing_reached(self) -> None:
        """Nothing but a sound request that is sent now: what came before it would be there."""
        assert self.service.post("/v1/tokenize", json={"text": "A"}).status_code == 200
        lines = [(port, data.split(b"\r\n")[0]) for port, data in self.reached()]
        assert lines == [("inference", b"POST /predictions/gpt2/1.0/v1/tokenize HTTP/1.1")]


@pytest.fixture(scope="module")
def watched(start_stand_in: StartStandIn, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    record = tmp_path_factory.mktemp("record") / "record"
    return Watched(start_stand_in(record=record), record)


def exchange(service: Service, request: bytes) -> bytes:
    """Send raw bytes, say that nothing more comes, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE) as made:
        made.sendall(request)
        received = b""
        with contextlib.suppress(OSError):
            while piece := made.recv(65536):
                received += piece
    return received


BODY = b'{"input": "A dog"}'
SMUGGLED = b"GET /models HTTP/1.1\r\nhost: localhost\r\n\r\n"
HOST = b"host: localhost\r\n"
POST = b"POST /generate HTTP/1.1\r\n" + HOST

REFUSED = {
    "two lengths": POST + b"content-length: 18\r\ncontent-length: 5\r\n\r\n" + BODY,
    "two equal lengths": POST + b"content-length: 18\r\ncontent-length: 18\r\n\r\n" + BODY,
    "length and chunked": POST
    + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "chunked and length": POST
    + b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "a length that is none": POST + b"content-length: 1x\r\n\r\n" + BODY,
    "a negative length": POST + b"content-length: -1\r\n\r\n" + BODY,
    "a signed length": POST + b"content-length: +18\r\n\r\n" + BODY,
    "an unknown coding": POST + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunked twice": POST + b"transfer-encoding: chunked, chunked, x\r\n\r\n0\r\n\r\n",
    "space before the colon": POST + b"content-length : 18\r\n\r\n" + BODY,
    "bare line feeds": b"POST /generate HTTP/1.1\nhost: localhost\ncontent-length: 18\n\n" + BODY,
    "a bare line feed in the head": POST + b"x: y\nz: w\r\ncontent-length: 18\r\n\r\n" + BODY,
    "a folded header": POST + b"x: y\r\n z\r\ncontent-length: 18\r\n\r\n" + BODY,
    "a nul in a header": POST + b"x: a\x00b\r\ncontent-length: 18\r\n\r\n" + BODY,
    "a bad chunk size": POST + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    "a bare line feed after a chunk size": POST
    + b"transfer-encoding: chunked\r\n\r\n12\n"
    + BODY
    + b"\r\n0\r\n\r\n",
    "connect": b"CONNECT 127.0.0.1:8081 HTTP/1.1\r\n" + HOST + b"\r\n",
    "no http": b"hello there\r\n\r\n",
    "a version of its own": b"GET /health/live HTTP/3.7\r\n" + HOST + b"\r\n",
    "bytes in the path": b"GET /health/l\xffve HTTP/1.1\r\n" + HOST + b"\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_ambiguous_requests_are_refused_and_the_connection_closed(
    watched: Watched, name: str
) -> None:
    received = exchange(watched.service, REFUSED[name])
    assert received.startswith(b"HTTP/1.1 400 "), received[:200]
    assert b"connection: close" in received
    assert received.count(b"HTTP/1.1 ") == 1
    watched.assert_nothing_reached()


NOT_FOUND = {
    "dots": b"/predictions/../models",
    "dots below": b"/predictions/gpt2/../../models",
    "encoded dots": b"/predictions/%2e%2e/models",
    "encoded slash": b"/predictions/gpt2%2f1.0",
    "double encoded": b"/predictions/gpt2%252f..%252fmodels",
    "backslash": b"/predictions/..\\models",
    "semicolon": b"/predictions/gpt2;/models",
    "two slashes": b"//models",
    "trailing slash": b"/predictions/gpt2/",
    "null byte": b"/predictions/gpt2%00",
    "a path of the handler that is none": b"/predictions/gpt2/1.0/metrics",
}


@pytest.mark.parametrize("name", NOT_FOUND)
def test_odd_paths_lead_nowhere(watched: Watched, name: str) -> None:
    head = b"POST %s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n" % NOT_FOUND[name]
    received = exchange(watched.service, head + b"content-length: 18\r\n\r\n" + BODY)
    assert received.startswith(b"HTTP/1.1 40"), received[:200]
    watched.assert_nothing_reached()


def test_an_absolute_uri_is_its_path_here_and_goes_nowhere_else(watched: Watched) -> None:
    head = b"GET http://127.0.0.1:1/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    received = exchange(watched.service, head)
    assert received.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))
    watched.assert_nothing_reached()


def test_customized_never_reaches_torchserve(watched: Watched) -> None:
    reply = watched.service.manage("GET", "/models/gpt2?customized=true")
    assert reply.status_code == 200
    watched.assert_nothing_reached()


JSON_TYPE = b"content-type: application/json; charset=utf-8\r\n"
PREDICTIONS = b"/predictions/gpt2/1.0"
COMPLETIONS = PREDICTIONS + b"/v1/completions"
# What a client sends (its request line, content type and body), and the path and body of it that
# reach TorchServe.
REBUILT = {
    "a completion": (
        b"POST /v1/completions",
        JSON_TYPE,
        b'{"prompt":  "A dog"}',
        COMPLETIONS,
        b'{"prompt":  "A dog"}',
    ),
    "the plain route": (
        b"POST /generate",
        JSON_TYPE,
        b'{"input": "A\\r\\nGET /models HTTP/1.1"}',
        COMPLETIONS,
        b'{"prompt": "A\\r\\nGET /models HTTP/1.1", "max_tokens": 20}',
    ),
    "a plain text that looks like a request": (
        b"PUT /predictions/gpt2",
        b"content-type: text/plain\r\n",
        b"A\r\n\r\n" + SMUGGLED,
        PREDICTIONS,
        b'{"prompt": "A\\r\\n\\r\\nGET /models HTTP/1.1\\r\\nhost: localhost\\r\\n\\r\\n"}',
    ),
    "a query": (
        b"POST /predictions/gpt2/1.0/v1/completions?customized=true",
        JSON_TYPE,
        b"{}",
        COMPLETIONS,
        b"{}",
    ),
    "a question": (
        b"POST /v1/detokenize",
        JSON_TYPE,
        b'{"tokens": [1]}',
        b"/predictions/gpt2/1.0/v1/detokenize",
        b'{"tokens": [1]}',
    ),
}


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("name", REBUILT)
def test_torchserve_gets_what_was_made_anew_byte_for_byte(
    watched: Watched, name: str, is_chunked: bool
) -> None:
    line, content_type, sent, path, body = REBUILT[name]
    head = line + b" HTTP/1.1\r\n" + HOST + content_type
    head += b"x-request-id: seen-1\r\ntraceparent: " + TRACE + b"\r\nconnection: close\r\n"
    head += b"authorization: Bearer secret\r\ncookie: a=b\r\nx-forwarded-for: 1.2.3.4\r\n"
    head += b"ts_stream_next: true\r\nurl_path: v1/models\r\nuser-agent: x\r\naccept: x/y\r\n"
    if is_chunked:
        sent = b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(sent), sent)
    else:
        sent = b"content-length: %d\r\n\r\n%b" % (len(sent), sent)
    received = exchange(watched.service, head + sent)
    assert received.startswith(b"HTTP/1.1 200 OK"), received
    assert received.count(b"HTTP/1.1 200 OK") == 1
    expected = b"POST %b HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n" % (path, len(body))
    expected += b"x-request-id: seen-1\r\ncontent-type: application/json\r\n"
    # A text is answered with a text; which header the client sent does not matter.
    expected += b"accept: text/plain\r\n" if path == PREDICTIONS else b""
    expected += b"traceparent: " + TRACE + b"\r\n\r\n" + body
    ((port, data),) = watched.reached()
    # The handler's proof that the gateway asks, new at each start, and what the reply is called.
    assert (port, SIDEBAND.sub(b"", data)) == ("inference", expected)


def test_an_odd_trace_or_request_id_is_not_passed_on(watched: Watched) -> None:
    head = POST + b"x-request-id: a b\r\ntraceparent: %b, x\r\nconnection: close\r\n" % TRACE
    received = exchange(watched.service, head + b"content-length: 18\r\n\r\n" + BODY)
    assert received.startswith(b"HTTP/1.1 200 ")
    ((_, data),) = watched.reached()
    assert b"traceparent" not in data
    assert re.search(rb"\r\nx-request-id: [0-9a-f]{24}\r\n", data)


def test_management_is_made_anew_and_its_key_stays_here(watched: Watched) -> None:
    made = watched.service.manage("POST", "/models?url=gpt2.mar&model_name=second")
    assert made.status_code == 200, made.text
    assert watched.service.manage("DELETE", "/models/second").status_code == 200
    reached = watched.reached()
    query = b"?url=gpt2.mar&model_name=second&initial_workers=1&synchronous=true"
    assert [(port, data.split(b" HTTP/1.1\r\n")[0]) for port, data in reached] == [
        ("management", b"DELETE /models/second/1.0"),  # of a try that was cut off
        ("management", b"POST /models" + query),
        ("inference", b"POST /predictions/second/1.0/v1/models"),
        ("management", b"DELETE /models/second/1.0"),
    ]
    for _, data in reached:
        names = set(re.findall(rb"(?m)^([A-Za-z-]+): ", data.lower()))
        assert names <= {b"host", b"content-length", b"content-type"}
        assert MANAGEMENT_KEY.encode() not in data


def test_a_clients_headers_change_nothing(service: Service) -> None:
    headers = {"ts_stream_next": "true", "url_path": "v1/models", "x-a": "b"}
    reply = service.post("/generate", json={"input": "A dog"}, headers=headers)
    assert reply.status_code == 200 and reply.json()["body"]["generated"]
