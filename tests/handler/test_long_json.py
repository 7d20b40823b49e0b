"""JSON that is parsed piece by piece is the JSON that `json` reads, and wrong where it is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.content import long_json, strict_json
from handler.errors import BadRequest
from handler.requests.schema import CompletionRequest
from handler.requests.validation import validate

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=60
)
LETTERS = list('[]{},:"\\0.1-e ntf\n')


def read(loads: Any, text: str) -> Any:
    """What a parser makes of a text: its value (`repr` tells 1 from 1.0 and True), or refusal."""
    try:
        return repr(loads(text))
    except json.JSONDecodeError:
        return None


def refuse(name: str) -> float:
    return float(name)


def in_pieces(text: str) -> Any:
    return long_json.loads(text, refuse)


@given(VALUES, st.sampled_from([None, 0, 2]), st.booleans(), st.data())
@settings(max_examples=300, deadline=None)
def test_it_is_read_as_json_reads_it(value: Any, indent: Any, ascii: bool, data: Any) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii)
    assert read(in_pieces, text) == read(json.loads, text)
    at, letter = data.draw(st.integers(0, len(text))), data.draw(st.sampled_from(LETTERS))
    for spoilt in (text[:at] + text[at + 1 :], text[:at] + letter + text[at:]):
        assert read(in_pieces, spoilt) == read(json.loads, spoilt)


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": list(range(30_000))},
        {"bias": {str(token): 0.5 for token in range(30_000)}},
        {"prompt": [[1.5, None, "a\n\U0001f642"]] * 9_000, "last": True},
    ],
)
def test_what_is_long_is_read(value: Any) -> None:
    assert strict_json.load(json.dumps(value).encode()) == value


@pytest.mark.parametrize("end", ["]", ",]}", "1 1]}", '"\\ud800"]}', "NaN]}"])
def test_what_is_long_is_refused(end: str) -> None:
    with pytest.raises(strict_json.JsonError):
        strict_json.load('{"prompt": [' + "1," * 30_000 + end)


@pytest.mark.parametrize("field", ["stop_token_ids", "allowed_token_ids"])
def test_of_many_wrong_ids_the_first_is_told_and_no_list_made_of_all(field: str) -> None:
    with pytest.raises(BadRequest, match=rf"`{field}\[2\]` must be greater than or equal to 0"):
        validate(CompletionRequest, {"prompt": "x", field: [5, 5] + [-1] * 100})


def test_of_many_wrong_biases_the_first_is_told() -> None:
    bias = {"5": 1, "6": 0.5} | {str(token): "much" for token in range(7, 100)}
    with pytest.raises(BadRequest, match="`logit_bias.*must be a valid number"):
        validate(CompletionRequest, {"prompt": "x", "logit_bias": bias})
