"""What cannot be served is a 400 that says why."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.routes.predictions.asking import (
    TEXT,
    Server,
)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"data": b""}, "empty"),
        ({"data": b"", "headers": {"content-type": TEXT}}, "empty"),
        ({"json": {"data": ""}}, "empty"),
        ({"json": {"max_tokens": 3}}, "no prompt"),
        ({"json": {}}, "no prompt"),
        ({"json": {"inputs": "", "parameters": {}}}, "empty"),
        ({"files": {"data": ""}}, "empty"),
        ({"files": {"max_tokens": (None, "3")}}, "no prompt"),
        ({"json": {"data": "a", "text": "b"}}, "`data` and as `text`"),
        ({"files": {"data": "a", "prompt": (None, "b")}}, "`prompt` and as `data`"),
        ({"json": {"data": "a", "max_tokens": 3, "max_new_tokens": 4}}, "`max_new_tokens`"),
        ({"data": b"caf\xe9"}, "byte 3"),
        ({"files": {"data": b"caf\xe9"}}, "byte 3"),
        ({"data": b"a", "headers": {"content-type": "text/plain; charset=klingon"}}, "`klingon`"),
        ({"files": {"data": "a", "max_tokens": (None, "many")}}, "`max_tokens`"),
        ({"files": {"data": "a", "stream": (None, "perhaps")}}, "`stream`"),
    ],
)
def test_what_can_not_be_served_is_a_400_that_says_why(
    server: Server, options: dict[str, Any], says: str
) -> None:
    reply = server.post(**options)
    assert reply.status_code == 400, reply.text
    value = reply.json()
    assert says in value["error"]["message"]
    # As TorchServe's clients read it.
    assert value["code"] == 400
    assert value["type"] == "BadRequestException"
    assert value["message"] == value["error"]["message"]


def test_an_empty_prompt_stays_a_new_text_for_openai_s_clients(server: Server) -> None:
    assert server.text("") == server.text("")


MULTIPART = "multipart/form-data; boundary=x"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x\r\n\r\n"),
        ("multipart/form-data; boundary=", b"----"),
        ("multipart/form-data; boundary=" + "x" * 71, b""),
        (MULTIPART, b""),
        (MULTIPART, b"no boundary at all"),
        (MULTIPART, b'--x\r\nContent-Disposition: form-data; name="data"\r\n\r\ncut off'),
        (MULTIPART, b"--x\r\n\r\nno name\r\n--x--"),
        (MULTIPART, b'--x\r\nContent-Disposition: form-data; name="data"\r\n--x--'),
        (MULTIPART, b"--x\r\n" + b"a: b\r\n" * 9000 + b"\r\nx\r\n--x--"),
        (MULTIPART, b"--x\r\n" * 100_000),
        (MULTIPART, b"\r\n--x" * 100_000),
        ("application/x-www-form-urlencoded", b"a&" * 300_000),
    ],
)
def test_broken_forms_are_400s(gateway: Server, content_type: str, body: bytes) -> None:
    reply = gateway.post(data=body, headers={"content-type": content_type})
    assert reply.status_code == 400, reply.text[:200]
