"""Names of ignored fields: a header holds them whatever they are."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.requests.base import unknown_fields
from handler.requests.ignored import MAX_BYTES, MAX_NAMES, header_value
from handler.requests.schema import CompletionRequest
from handler.requests.token_schema import TokenizeRequest
from handler.requests.validation import validate

names = st.lists(st.text(st.characters()), max_size=12)  # surrogates and control characters too


@given(names)
def test_any_names_make_one_short_line_of_ascii(given_names: list[str]) -> None:
    value = header_value(given_names)
    assert re.fullmatch(r"([A-Za-z0-9_.~,-]|%[0-9A-F]{2})*", value)
    assert len(value) <= MAX_BYTES


@given(names)
def test_names_can_be_read_back(given_names: list[str]) -> None:
    shown = [unquote_to_bytes(part) for part in header_value(given_names).split(",")]
    wanted = [name.encode("utf-8", "surrogatepass") for name in given_names] or [b""]
    assert len(shown) <= MAX_NAMES
    assert wanted[0].startswith(shown[0])
    assert shown[1:] == wanted[1 : len(shown)]


@pytest.mark.parametrize("name", ["x" * 300, "é" * 300, "\ud800" * 300, "x" + "🦊" * 99])
def test_a_name_that_is_too_long_is_cut_between_escapes(name: str) -> None:
    value = header_value([name, "other"])
    assert MAX_BYTES - 3 < len(value) <= MAX_BYTES
    assert name.encode("utf-8", "surrogatepass").startswith(unquote_to_bytes(value))


@pytest.mark.parametrize(
    ("body", "unknown"),
    [
        ({"prompt": "x"}, []),
        ({"input": "x"}, []),
        ({"prompt": "x", "colour": 1, "best": None}, ["colour", "best"]),
        ({"stream": True, "stream_options": {"include_usage": True, "pace": 1}},
         ["stream_options.pace"]),
        ({"stream_options": None, "a.b": 1, "": 2}, ["a.b", ""]),
    ],
)  # fmt: skip
def test_unknown_fields_are_found_nested_ones_too(body: dict[str, Any], unknown: list[str]) -> None:
    assert list(unknown_fields(validate(CompletionRequest, body), body)) == unknown


def test_every_request_ignores_what_it_does_not_know() -> None:
    body = {"text": "x", "modle": "gpt2"}
    assert list(unknown_fields(validate(TokenizeRequest, body), body)) == ["modle"]
