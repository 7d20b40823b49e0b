"""What a request may say, checked without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import BadRequest
from handler.requests.schema import CompletionRequest
from handler.requests.validation import parse_json, validate

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
fields = st.sampled_from(sorted(CompletionRequest.model_fields))


@given(st.dictionaries(fields | st.text(max_size=5), json_values, max_size=4))
def test_any_body_is_either_taken_or_refused_in_words(body: dict[str, Any]) -> None:
    try:
        assert isinstance(validate(CompletionRequest, body), CompletionRequest)
    except BadRequest as error:
        assert error.message
        error.message.encode("utf-8")
        assert len(error.message) < 500


@given(st.binary(max_size=50))
def test_any_bytes_are_either_json_or_refused(body: bytes) -> None:
    try:
        parse_json(body)
    except BadRequest as error:
        assert error.code == "invalid_json"


def test_null_means_not_said() -> None:
    nothing = dict.fromkeys({*CompletionRequest.model_fields, "input"})
    assert validate(CompletionRequest, nothing) == CompletionRequest()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"temperature": 2.1}, "`temperature` must be less than or equal to 2"),
        ({"top_p": -0.1}, "`top_p` must be greater than or equal to 0"),
        ({"n": True}, "`n` must be a valid integer"),
        ({"n": 1.5}, "`n` must be a valid integer"),
        ({"top_k": -2}, "`top_k` must be greater than or equal to -1"),
        ({"prompt": [1, "a"]}, "`prompt` must be a string, a list of strings"),
        ({"prompt": [1, -1]}, "`prompt` token ids must not be negative"),
        ({"prompt": [1, 1.5]}, "`prompt` must be a string, a list of strings"),
        ({"stop": ["a"] * 17}, "`stop` may contain at most 16 strings"),
        ({"stop": ""}, "`stop` strings must have 1 to 256 characters"),
        ({"n": 3, "best_of": 2}, "`best_of` must be at least `n`, which is 3"),
        ({"best_of": 2, "stream": True}, "cannot be streamed"),
        ({"stream_options": []}, "`stream_options` must be an object"),
        ({"suffix": "x"}, "`suffix` must be empty"),
        ({"truncate_prompt_tokens": 0}, "must be 1 or more, or -1"),
        ({"stream_options": {"include_usage": True}}, "needs `stream`: true"),
        ({"prompt": "a", "input": "b"}, "either `prompt` or `input`"),
        ({"logit_bias": {"the": 1}}, "keys must be token ids"),
    ],
)
def test_a_refusal_says_what_is_allowed(body: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        validate(CompletionRequest, body)
    assert words in caught.value.message


@pytest.mark.parametrize("nests", ["[]", "{}", '"\\\\",[]', '"\\"",{}'])
def test_lists_by_the_ten_thousand_are_refused_but_brackets_in_a_text_are_letters(
    nests: str,
) -> None:
    with pytest.raises(BadRequest, match="lists and objects"):
        parse_json(f"[{nests}{f',{nests}' * 20_000}]")
    text = nests * 20_000
    assert parse_json(json.dumps({"prompt": text})) == {"prompt": text}
