"""Forms are taken apart as they were put together, and hostile ones are refused at once."""

from __future__ import annotations

import contextlib
import time

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.routes.forms import pairs, take_apart
from handler.content.charsets import parse_content_type
from handler.requests.question import Field

MOST = 20
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1)
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=300)), max_size=MOST)
# What a form is made of, in any order.
PIECES = st.sampled_from(
    [b"--x", b"--x--", b"\r\n", b"\n", b"\r\n\r\n", b"--", b"x", b" ", b"\x00", b"\xff", b":"]
    + [b"Content-Disposition: form-data", b'; name="data"', b"; name*=utf-8''d", b'; name="']
    + [b"Content-Type: text/plain", b"Content-Transfer-Encoding: base64"]
)


@given(FIELDS.filter(bool))
def test_a_multipart_form_comes_back_as_it_was_put_together(
    fields: list[tuple[str, bytes]],
) -> None:
    files = [(name, ("file", value)) for name, value in fields]
    prepared = requests.Request("POST", "http://localhost/", files=files).prepare()
    kind = parse_content_type(prepared.headers["content-type"])
    assert isinstance(prepared.body, bytes)
    found = take_apart(prepared.body, kind, MOST)
    assert [field.value for field in found] == [value for _, value in fields]
    plain = [name for name, _ in fields if name.isascii() and not set(name) & set('"\\')]
    assert [field.name for field in found if field.name in plain] == plain


@given(FIELDS)
def test_a_urlencoded_form_comes_back_as_it_was_put_together(
    fields: list[tuple[str, bytes]],
) -> None:
    text = str(requests.models.RequestEncodingMixin._encode_params(fields)).encode()
    assert pairs(text, MOST) == [Field(name, value) for name, value in fields]


@given(st.lists(PIECES, max_size=40))
def test_whatever_is_called_a_form_is_taken_apart_or_refused(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    for kind in ("multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        try:
            found = take_apart(body, parse_content_type(kind), MOST)
        except BadRequest as refusal:
            assert refusal.message
        else:
            assert all(field.value in body or kind.startswith("app") for field in found)


def test_names_are_read_as_browsers_curl_and_scripts_write_them() -> None:
    for disposition, name in [
        ('form-data; name="data"', "data"),
        ("form-data; name=data", "data"),
        ('form-data;name="data";filename="a;b.txt"', "data"),
        ('form-data; filename="; name=x"; name="data"', "data"),
        (r'form-data; name="a\"b"; filename="c"', 'a"b'),
        ('FORM-DATA; NAME="data"', "data"),
        ('form-data; name="größe"', "größe"),
    ]:
        part = f"--x\r\nContent-Disposition: {disposition}\r\n\r\nv\r\n--x--"
        kind = parse_content_type('Multipart/Form-Data; Boundary="x"')
        assert take_apart(part.encode(), kind, MOST) == [Field(name, b"v")]


@pytest.mark.parametrize("piece", [b";", b'"', b'";', b"\\", b'=";', b'a="', b" ", b'\\";'])
def test_hostile_headers_of_parts_cost_no_time(piece: bytes) -> None:
    value = b'form-data; name="' + piece * (8000 // len(piece))
    head = b"--x\r\nContent-Disposition: " + value[:8000] + b'; name="data"\r\n\r\nv\r\n'
    kind = parse_content_type("multipart/form-data; boundary=x")
    began = time.process_time()
    with contextlib.suppress(BadRequest):
        for field in take_apart(head * MOST + b"--x--", kind, MOST):
            parse_content_type("text/plain; charset=" + field.name)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "piece", [b"\n", b"--x", b"\r\n--x", b"\r\n--", b"--x\r\n", b"a: b\r\n", b"&", b"=", b"%"]
)
def test_a_long_hostile_form_costs_no_time(piece: bytes) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="data"\r\n\r\n'
    body = head + piece * ((1 << 20) // len(piece)) + b"\r\n--x--\r\n"
    for kind in ("multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        began = time.process_time()
        with contextlib.suppress(BadRequest):
            take_apart(body, parse_content_type(kind), MOST)
        assert time.process_time() - began < 1
