"""Tensors are read alike in JSON and in binary, and what is none is refused by its place."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from handler.errors import BadRequest
from handler.requests import kserve, tensors
from handler.requests.bodies import read_body
from handler.requests.tensors import BYTES, LETTERS, Tensor, packed

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\ufeff"))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    BYTES: TEXTS,
    "BOOL": st.booleans(),
    "FP32": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "FP64": st.floats(allow_nan=False, allow_infinity=False),
    "INT8": st.integers(-128, 127),
    "INT32": st.integers(-(2**31), 2**31 - 1),
    "UINT64": st.integers(0, 2**64 - 1),
}


def one(item: dict[str, Any], tail: bytes = b"") -> Tensor:
    [tensor] = tensors.read([item], tail)
    return tensor


@given(st.data(), st.sampled_from(sorted(VALUES)), st.integers(1, 3), st.integers(1, 3))
def test_json_nested_or_flat_and_binary_are_the_same_tensor(
    data: st.DataObject, datatype: str, rows: int, width: int
) -> None:
    drawn = st.lists(VALUES[datatype], min_size=rows * width, max_size=rows * width)
    values = data.draw(drawn)
    item = {"name": "x", "shape": [rows, width], "datatype": datatype}
    nested = [values[i * width : i * width + width] for i in range(rows)]
    if datatype == BYTES:
        raw = packed(values)
    else:
        raw = struct.pack(f"<{len(values)}{LETTERS[datatype]}", *values)
    sized = {**item, "parameters": {"binary_data_size": len(raw)}}
    expected = one({**item, "data": values})
    assert expected.values == values and expected.rows == nested
    assert one({**item, "data": nested}) == expected
    assert one(sized, raw) == expected
    assert one(json.loads(json.dumps({**item, "data": nested}))) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=12,
    ),
    st.sampled_from(["inputs", "outputs", "parameters", "id", "shape", "data", "datatype", "name"]),
    st.binary(),
)
def test_whatever_comes_is_read_or_refused(value: Any, place: str, tail: bytes) -> None:
    item = {"name": "text_input", "shape": [1], "datatype": BYTES, "data": ["Once"]}
    body: dict[str, Any] = {"inputs": [item]}
    (body if place in ("inputs", "outputs", "parameters", "id") else item)[place] = value
    for read in (
        lambda: kserve.read_infer(body, tail),
        lambda: kserve.read_instances({"instances": value, "parameters": value}),
        lambda: kserve.read_generate({"text_input": value, "parameters": body}),
    ):
        try:
            question = read()
        except BadRequest as refusal:
            assert refusal.message.encode()
        else:
            assert all(asked.request["prompt"] for asked in question.asked)


@given(st.binary(max_size=40), st.integers(0, 40))
def test_whatever_stands_behind_the_json_is_read_or_refused(raw: bytes, size: int) -> None:
    for datatype in VALUES:
        item = {"name": "x", "datatype": datatype, "parameters": {"binary_data_size": size}}
        try:
            tensor = one(item, raw)
        except BadRequest as refusal:
            assert "`inputs" in refusal.message or "byte" in refusal.message
        else:
            assert size == len(raw) and len(tensor.values) <= size


def test_more_strings_than_are_allowed_are_refused_in_either_format() -> None:
    texts = ["a"] * (tensors.MOST_STRINGS + 1)
    raw = packed(texts)
    sized = {"parameters": {"binary_data_size": len(raw)}}
    for form, tail in (({"data": texts}, b""), (sized, raw)):
        with pytest.raises(BadRequest, match="at most 1000"):
            one({"name": "x", "datatype": BYTES, **form}, tail)


def test_a_tensor_that_is_nested_too_deeply_is_refused() -> None:
    data: Any = [1]
    for _ in range(50):
        data = [data]
    with pytest.raises(BadRequest, match="dimensions"):
        one({"name": "x", "datatype": "INT64", "data": data})


def test_the_one_reader_knows_the_forms_by_what_is_in_them() -> None:
    """So that an archive on a bare server, which sees no path, answers the same."""
    item = {"name": "input-0", "shape": [1], "datatype": BYTES, "data": ["Once"]}
    for body, is_tensors in (({"inputs": [item]}, True), ({"instances": ["Once"]}, False)):
        question = read_body(json.dumps(body).encode(), "application/json")
        assert [asked.request["prompt"] for asked in question.asked] == ["Once"]
        assert question.envelope and question.envelope.is_tensors is is_tensors
    [asked] = read_body(b'{"text_input": "Once", "id": "7"}', "application/json").asked
    again = read_body(json.dumps(asked.as_json()).encode(), "application/json").asked
    assert again == [asked]  # what the gateway writes is read as what it had read


NAMES = st.sampled_from(["text_input", "prompt", "text", "a", "b", "max_tokens", "attention_mask"])


@given(st.lists(NAMES, max_size=5))
def test_of_several_tensors_those_that_are_wrong_are_named(names: list[str]) -> None:
    numbers = {"max_tokens", "attention_mask"}
    items = [
        {"name": name, "datatype": "INT32", "shape": [1], "data": [3]}
        if name in numbers
        else {"name": name, "datatype": BYTES, "shape": [1], "data": ["Once"]}
        for name in names
    ]
    prompts = [name for name in names if name in ("text_input", "prompt", "text")]
    others = [name for name in names if name in ("a", "b")]
    is_right = len(prompts) == 1 and not others or not prompts and len(others) == 1
    repeated = names.count("attention_mask") > 1  # an option twice with one value is one
    body = json.dumps({"inputs": items}).encode()
    if is_right and not repeated:
        [asked] = read_body(body, "application/json").asked
        assert asked.request["prompt"] == "Once"
        assert asked.request.get("max_tokens") == (3 if "max_tokens" in names else None)
        return
    assume(prompts or others)  # else it may be no request with tensors at all
    with pytest.raises(BadRequest) as refused:
        read_body(body, "application/json")
    wrong = prompts if len(prompts) > 1 else others
    if not is_right:
        assert all(f"`{name}`" in str(refused.value) for name in wrong)
