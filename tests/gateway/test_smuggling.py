"""Requests of odd shapes: none reaches TorchServe as something it should not see."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.gateway.conftest import Service


def exchange(service: Service, request: bytes) -> bytes:
    """Send raw bytes, say that nothing more comes, and return all that comes back."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=15) as made:
        made.sendall(request)
        made.settimeout(3)
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
    service: Service, name: str
) -> None:
    received = exchange(service, REFUSED[name])
    assert received.startswith(b"HTTP/1.1 400 "), received[:200]
    assert b"connection: close" in received
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"modelName" not in received


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
def test_odd_paths_lead_nowhere(service: Service, name: str) -> None:
    head = b"POST %s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n" % NOT_FOUND[name]
    received = exchange(service, head + b"content-length: 18\r\n\r\n" + BODY)
    assert received.startswith(b"HTTP/1.1 40"), received[:200]
    assert b"modelName" not in received


def test_an_absolute_uri_is_its_path_here_and_goes_nowhere_else(service: Service) -> None:
    head = b"GET http://127.0.0.1:1/health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    received = exchange(service, head)
    assert received.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))


def test_customized_never_reaches_torchserve(service: Service) -> None:
    reply = service.manage("GET", "/models/gpt2?customized=true")
    assert reply.status_code == 400
    assert service.complete(max_tokens=2).status_code == 200


def test_a_request_hidden_in_a_body_stays_a_body(service: Service) -> None:
    hidden = b'{"input": "' + b"\\n" + b'GET /models HTTP/1.1"}'
    head = POST + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(hidden)
    received = exchange(service, head + hidden)
    assert received.count(b"HTTP/1.1 200") == 1
    assert received.startswith(b"HTTP/1.1 200 ")


def test_clients_headers_are_not_passed_on(service: Service) -> None:
    headers = {"ts_stream_next": "true", "url_path": "v1/models", "x-a": "b"}
    reply = service.post("/generate", json={"input": "A dog"}, headers=headers)
    assert reply.status_code == 200 and reply.json()["body"]["generated"]
