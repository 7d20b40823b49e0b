"""The one reader of predictions: the way in which a text comes changes nothing of it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import BadRequest
from handler.requests.bodies import read_body, read_form
from handler.requests.prompts import PROMPT_NAMES
from handler.requests.question import COMPLETION, GENERATED, PLAIN, Asked, Field, Question
from handler.requests.schema import CompletionRequest
from handler.requests.typed import OPTIONS

JSON = "application/json"
# No text begins with a byte order mark of its own: that is what a reader takes off.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\ufeff"), min_size=1)


def only(question: Question) -> Asked:
    assert not question.is_list
    [asked] = question.asked
    return asked


def body(value: Any, **options: Any) -> Asked:
    """What a JSON body asks for."""
    return only(read_body(json.dumps(value).encode(), JSON, **options))


def query(**options: str) -> list[Field]:
    return [Field(name, value.encode()) for name, value in options.items()]


@given(TEXTS, st.sampled_from(PROMPT_NAMES))
def test_a_text_is_the_same_prompt_whichever_way_it_comes(text: str, name: str) -> None:
    raw = text.encode()
    ways = [
        only(read_body(raw, "")),
        only(read_body(raw, "application/octet-stream")),
        only(read_body(text.encode("utf-16"), "text/plain; charset=utf-16")),
        only(read_body(text.encode("utf-8-sig"), "text/plain")),
        only(read_body(b"", "", query=[Field(name, raw)])),
        only(read_form([Field(name, raw)])),
        only(read_form([Field(name, raw, "text/plain")])),
        only(read_form([Field(name, json.dumps({"prompt": text}).encode(), JSON)])),
        body(text),
        body({name: text}),
        body({name: {"prompt": text}}),
        body({name: text, "data" if name != "data" else "body": None}),
    ]
    assert {way.request["prompt"] for way in ways} == {text}


def test_what_torchserve_has_decoded_already_is_taken_as_it_is() -> None:
    """Its worker parses JSON and texts, unless `decode_input_request=false` says otherwise."""
    for value in ("Once", {"data": "Once"}):
        assert only(read_body(value, JSON)) == Asked({"prompt": "Once"})
    assert only(read_body("Once", "text/plain")) == Asked({"prompt": "Once"}, PLAIN)
    assert only(read_body("é", "text/plain; charset=latin-1")).request["prompt"] == "Ã©"
    parts = [Field("data", {"prompt": "Once"}, JSON), Field("max_tokens", "5", "text/plain")]
    assert only(read_form(parts)) == Asked({"prompt": "Once", "max_tokens": 5})


@given(st.text(st.characters(codec="latin-1"), min_size=1))
def test_a_charset_is_heeded_in_bodies_and_in_fields(text: str) -> None:
    raw = text.encode("latin-1")
    assert only(read_body(raw, "text/plain; charset=ISO-8859-1")).request["prompt"] == text
    assert only(read_body(raw, 'text/plain;charset="latin1"')).request["prompt"] == text
    field = Field("data", raw, "text/plain; charset=latin-1")
    assert only(read_form([field])).request["prompt"] == text


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "max_tokens": st.integers(0, 10**6),
            "temperature": st.floats(0, 2),
            "seed": st.integers(-(2**63), 2**63 - 1),
            "stream": st.booleans(),
            "stop": st.lists(TEXTS, min_size=1, max_size=4),
            "logit_bias": st.dictionaries(st.sampled_from("123"), st.integers(-9, 9), min_size=1),
            "user": TEXTS,
        },
    )
)
def test_options_mean_the_same_in_json_in_a_form_and_in_a_query(options: dict[str, Any]) -> None:
    fields = []
    for name, value in options.items():
        for each in value if isinstance(value, list) else [value]:
            text = each if isinstance(each, str) else json.dumps(each)
            fields.append(Field(name, text.encode()))
    expected = {"prompt": "x", **options}
    assert body({"data": "x", **options}).request == expected
    assert body({"data": {"prompt": "x", **options}}).request == expected
    assert body({"data": "x", "parameters": options}).request == expected
    assert only(read_form([Field("data", b"x"), *fields])).request == expected
    assert only(read_form([Field("data", b"x")], fields)).request == expected
    assert only(read_body(b"x", "", fields)).request == expected


def test_every_option_of_the_contract_can_stand_in_a_query() -> None:
    assert set(CompletionRequest.model_fields) - {"prompt"} <= OPTIONS


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_tokens", "50", 50),
        ("max_new_tokens", "50", 50),
        ("temperature", "1e-1", 0.1),
        ("temperature", ".5", 0.5),
        ("top_k", "-1", -1),
        ("stream", "False", False),
        ("stream", "on", True),
        ("echo", "1", True),
        ("logprobs", "1", 1),
        ("max_tokens", "", None),
        ("max_tokens", "many", "many"),
        ("temperature", "nan", "nan"),
        ("n", "9" * 5000, "9" * 5000),
        ("nonsense", "1", None),
    ],
)
def test_texts_become_what_json_would_say(name: str, text: str, value: Any) -> None:
    request = only(read_body(b"x", "", query(**{name: text}))).request
    name = "max_tokens" if name == "max_new_tokens" else name
    assert request == {"prompt": "x", name: value}
    assert type(request[name]) is type(value)


@pytest.mark.parametrize(
    ("content", "content_type", "says"),
    [
        (b"", "", "empty"),
        (b"", "text/plain", "empty"),
        (b'""', JSON, "empty"),
        (b"{}", JSON, "no prompt"),
        (b'{"prompt": null}', JSON, "no prompt"),
        (b'["a", ""]', JSON, "empty"),
        (b"[]", JSON, "empty"),
        (b'{"data": ["a", ""]}', JSON, "`data[1]`"),
        (b'{"data": 5}', JSON, "`data`"),
        (b"[5]", JSON, "Item 0"),
        (b"5", JSON, "JSON object"),
        (json.dumps(["a"] * 1001).encode(), JSON, "1001 items"),
        (b"", JSON, "not valid JSON"),
        (b'{"data": "a", "prompt": "b"}', JSON, "`prompt` and as `data`"),
        (b'{"data": {"prompt": "a"}, "text": "b"}', JSON, "`data` and as `text`"),
        (b'{"data": {"prompt": "a", "seed": 1}, "seed": 2}', JSON, "`seed`"),
        (b'{"data": "a", "max_tokens": 1, "max_new_tokens": 2}', JSON, "`max_new_tokens`"),
        (b'{"data": "a", "parameters": 5}', JSON, "`parameters`"),
        (b'{"data": "a", "do_sample": "no"}', JSON, "`do_sample`"),
        (b'{"inputs": [5]}', JSON, "`inputs`"),
        (b'{"inputs": "a", "parameters": {"typical_p": 0.5}}', JSON, "`typical_p`"),
        (b'{"inputs": "a", "parameters": {"do_sample": true, "temperature": 0}}', JSON, "`temp"),
        (b"abc\xff", "", "at byte 3"),
        (b"abc\xff", "application/octet-stream", "at byte 3"),
        (b"a\x00b", "text/plain; charset=utf-16", "UTF-16 at byte 2"),
        (b"abc", "text/plain; charset=klingon", "`klingon`"),
        (b"abc", "text/plain; charset=hex", "`hex`"),
        (b"abc", "text/plain; charset=\x00", "charset"),
    ],
)
def test_what_can_not_be_read_is_told_in_its_own_words(
    content: bytes, content_type: str, says: str
) -> None:
    with pytest.raises(BadRequest, match="(?s).") as refusal:
        read_body(content, content_type)
    assert says in refusal.value.message


@given(st.binary(), st.text(), st.text())
def test_whatever_comes_is_read_or_refused(content: bytes, content_type: str, accept: str) -> None:
    for kind in (content_type, JSON, "text/plain"):
        try:
            question = read_body(content, kind, accept=accept)
        except BadRequest as refusal:
            refusal.message.encode()
        else:
            assert all(asked.request["prompt"] for asked in question.asked)


def test_two_ways_to_say_a_prompt_are_both_named() -> None:
    with pytest.raises(BadRequest, match="the body and as `data`"):
        read_body(b"Once", "text/plain", query(data="upon"))
    with pytest.raises(BadRequest, match="`prompt` and as `data`"):
        read_form([Field("data", b"a"), Field("prompt", b"b")])
    with pytest.raises(BadRequest, match="`seed` is given 2 times"):
        read_form([Field("data", b"a"), Field("seed", b"1"), Field("seed", b"2")])


def test_words_that_are_only_called_a_form_are_the_prompt() -> None:
    for raw in (b"100% sure & more = less", b"some words", b'{"a": 1}', b"{no json"):
        assert only(read_form([Field("?", b"")], raw=raw)).request == {"prompt": raw.decode()}
    asked = only(read_form([Field("?", b"")], raw=b'{"data": "x", "max_new_tokens": 3}'))
    assert asked == Asked({"prompt": "x", "max_tokens": 3}, COMPLETION)
    with pytest.raises(BadRequest, match="`data=...`"):
        read_form([Field("some words", b"")])


def test_a_list_is_answered_as_a_list_and_shares_what_stands_beside_it() -> None:
    question = read_body(b'["a", {"data": "b", "seed": 2}]', JSON, query(max_tokens="3"))
    assert question.is_list
    assert [asked.request for asked in question.asked] == [
        {"prompt": "a", "max_tokens": 3},
        {"prompt": "b", "max_tokens": 3, "seed": 2},
    ]
    several = [Field("data", b"a"), Field("data", b"b")]
    both = [Asked({"prompt": "a"}), Asked({"prompt": "b"})]
    assert read_form(several) == Question(both, is_list=True)
    texts = [Asked({"prompt": "a"}, PLAIN), Asked({"prompt": "b"}, PLAIN)]
    assert read_body(b"", "", several) == Question(texts, is_list=True)
    assert read_form(several, accept="text/plain") == Question(texts, is_list=True)
    together = only(read_form([*several, Field("stream", b"1")]))
    assert together.request == {"prompt": ["a", "b"], "stream": True}
    streamed = only(read_body(b'["a", "b"]', JSON, query(stream="true")))
    assert streamed.request == {"prompt": ["a", "b"], "stream": True}
    with pytest.raises(BadRequest, match="streamed only if"):
        read_body(b'["a", {"data": "b", "seed": 2}]', JSON, query(stream="true"))


def test_hugging_faces_form_is_told_from_torchserves() -> None:
    assert body({"inputs": "a"}) == Asked({"prompt": "a"}, GENERATED, full_text=True)
    asked = body(
        {
            "inputs": "a",
            "parameters": {
                "max_new_tokens": 3,
                "do_sample": False,
                "temperature": 0.7,
                "num_return_sequences": 2,
                "return_full_text": False,
                "stop": ["."],
                "typical_p": None,
            },
            "options": {"use_cache": False},
        }
    )
    expected = {"prompt": "a", "max_tokens": 3, "temperature": 0, "n": 2, "stop": ["."]}
    assert asked == Asked(expected | {"options": {"use_cache": False}}, GENERATED)
    # With options beside it, `inputs` is but one more name of the prompt.
    assert body({"inputs": "a", "max_tokens": 3}) == Asked({"prompt": "a", "max_tokens": 3})
    echoed = body({"data": "a", "return_full_text": True, "do_sample": False})
    assert echoed == Asked({"prompt": "a", "echo": True, "temperature": 0})


@pytest.mark.parametrize(
    ("accept", "raw", "value"),
    [
        ("", PLAIN, COMPLETION),
        ("*/*", PLAIN, COMPLETION),
        ("application/json, text/plain, */*", PLAIN, COMPLETION),
        ("text/html", PLAIN, COMPLETION),
        ("application/json", COMPLETION, COMPLETION),
        ("application/json;q=0.5, text/plain;q=0.4", COMPLETION, COMPLETION),
        ("application/*", COMPLETION, COMPLETION),
        ("Text/Plain; charset=utf-8", PLAIN, PLAIN),
        ("text/plain, application/json", PLAIN, PLAIN),
        ("text/event-stream", "stream", "stream"),
        ("text/event-stream;q=0, text/plain", PLAIN, PLAIN),
        ("text/event-stream;q=x", PLAIN, COMPLETION),
    ],
)
def test_accept_chooses_where_the_body_leaves_it_open(accept: str, raw: str, value: str) -> None:
    def form(asked: Asked) -> str:
        return "stream" if asked.request.get("stream") else asked.format

    assert form(only(read_body(b"x", "", accept=accept))) == raw
    assert form(body({"data": "x"}, accept=accept)) == value
    assert form(only(read_form([Field("inputs", b"x")], accept=accept))) == value
    assert form(body({"data": "x", "stream": True}, accept=accept)) == "stream"
    assert form(body({"data": "x", "stream": False}, accept=accept)) != "stream"
    assert form(only(read_body(b"x", "", query(stream="true"), accept))) == "stream"
    of_hugging_face = "stream" if value == "stream" else GENERATED
    assert form(body({"inputs": "x"}, accept=accept)) == of_hugging_face


@pytest.mark.parametrize(
    ("value", "accept"),
    [
        ({"prompt": "a", "seed": 3, "stop": ["x"], "unknown": 1}, ""),
        ({"data": ["a", "b"], "n": 2}, "text/plain"),
        ({"inputs": "a"}, ""),
        ({"inputs": ["a", "b"], "parameters": {"max_length": 9, "do_sample": False}}, ""),
        ({"inputs": "a", "parameters": {"details": True, "return_full_text": False}}, ""),
        ({"inputs": "a", "parameters": {"seed": 1}, "stream": True, "options": {"a": 1}}, ""),
        (["a", {"inputs": "b", "parameters": {"n": 2}}, {"data": "c", "n": 1}], ""),
        (["a", {"data": "c", "min_new_tokens": 1}], "text/plain"),
    ],
)
def test_what_the_gateway_writes_anew_asks_for_the_same(value: Any, accept: str) -> None:
    asked = read_body(json.dumps(value).encode(), JSON, accept=accept)
    anew = [each.as_json() for each in asked.asked]
    body = json.dumps(anew if asked.is_list else anew[0]).encode()
    assert read_body(body, JSON, accept=accept) == asked


def test_the_reader_is_light() -> None:
    """An idle gateway holds neither pydantic nor TorchServe, and reads all the same."""
    script = (
        "import sys, handler.requests.bodies, handler.replies.answers\n"
        "print([name for name in ('pydantic', 'ts', 'numpy', 'tokenizers') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
