"""Every body of the inference page is answered: forms, texts in any charset, JSON, lists."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
import requests

from tests.gateway.conftest import events
from tests.gateway.routes.predictions.asking import (
    JSON,
    OTHER,
    PROMPT,
    QUERY,
    TEXT,
    WRITING,
    Server,
    fields,
    text_of,
)
from tests.patience import PATIENCE

# Forms: one text


@pytest.mark.parametrize("name", ["data", "body", "prompt", "text", "input", "inputs"])
def test_a_form_with_a_file_or_a_text_is_answered(server: Server, name: str) -> None:
    expected = server.text()
    for prompt in (("story.txt", PROMPT), ("story.txt", PROMPT, "text/plain"), (None, PROMPT)):
        assert text_of(server.post(**fields(prompt, name=name))) == expected, prompt
        plain = server.post(**fields(prompt, name=name), headers={"accept": TEXT})
        assert plain.text == expected
        assert plain.headers["content-type"] == "text/plain; charset=utf-8"
    assert text_of(server.post("/1.0", data={name: PROMPT, **WRITING})) == expected


def test_curl_as_the_inference_page_has_it(server: Server, story: str) -> None:
    expected = server.text()
    options = [word for name, value in WRITING.items() for word in ("-F", f"{name}={value}")]
    for words in (
        ["-F", f"data=@{story}", *options],
        ["-F", f"data={PROMPT}", *options],
        ["-d", f"data={PROMPT}&{QUERY}"],
    ):
        for path in ("", "/1.0"):
            value = json.loads(server.curl(*words, path=path))
            assert value["choices"][0]["text"] == expected
            assert server.curl(*words, "-H", "Accept: text/plain", path=path) == expected
    assert server.curl("-T", story)
    assert server.curl("-X", "POST", "-T", story)
    assert server.curl("-H", f"Content-Type: {JSON}", "-d", json.dumps({"data": PROMPT}))


def test_several_fields_of_one_name_are_several_prompts(server: Server, story: str) -> None:
    expected = [server.text(PROMPT), server.text(OTHER)]
    forms = [
        fields(("a.txt", PROMPT), ("b.txt", OTHER)),
        fields((None, PROMPT), (None, OTHER)),
        {"data": [("data", PROMPT), ("data", OTHER), *WRITING.items()]},
    ]
    for form in forms:
        reply = server.post(**form)
        assert reply.status_code == 200, reply.text
        assert [each["choices"][0]["text"] for each in reply.json()] == expected
        plain = server.post(**form, headers={"accept": TEXT})
        assert plain.json() == expected
        assert plain.headers["content-type"].startswith(JSON)
    copies = fields((None, PROMPT), (None, OTHER), n=2)
    assert [len(each["choices"]) for each in server.post(**copies).json()] == [2, 2]
    texts = server.post(**copies, headers={"accept": TEXT}).json()
    assert [each[0] for each in texts] == expected
    assert [len(each) for each in texts] == [2, 2]


def test_a_form_s_text_has_the_charset_that_it_names(gateway: Server, bare: Server) -> None:
    prompt = "Über den Fluss, señor"
    field = ("story.txt", prompt.encode("latin-1"), "text/plain; charset=latin-1")
    assert text_of(gateway.post(**fields(field))) == gateway.text(prompt)
    kind = {"content-type": "application/x-www-form-urlencoded; charset=ISO-8859-1"}
    encoded = f"data={quote(prompt, encoding='latin-1')}&{QUERY}"
    for server in (gateway, bare):
        expected = server.text(prompt)
        assert text_of(server.post(**fields(("story.txt", prompt.encode())))) == expected
        assert text_of(server.post(data=encoded, headers=kind)) == expected
    # Its front end takes a part's charset off; nothing is written for a text that is misread.
    assert bare.post(**fields(field)).status_code in (400, 500)


@pytest.mark.parametrize("where", ["form", "query", "json"])
def test_options_mean_the_same_wherever_they_stand(gateway: Server, where: str) -> None:
    options = {"stop": ["e", "zz"], "n": 2, "echo": True, "logit_bias": {"5": 3}, "top_k": 7}
    expected = gateway.completion(**options)["choices"]
    accept = {"accept": JSON}
    spelt = [
        (name, each if isinstance(each, str) else json.dumps(each))
        for name, value in (WRITING | options).items()
        for each in (value if isinstance(value, list) else [value])
    ]
    if where == "form":
        reply = gateway.post(files=[("data", PROMPT)], data=spelt, headers=accept)
    elif where == "query":
        query = str(requests.models.RequestEncodingMixin._encode_params(spelt))
        reply = gateway.post(query=query, data=PROMPT, headers=accept)
    else:
        reply = gateway.post(json={"data": PROMPT, **WRITING, **options})
    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"] == expected


# Bodies that are no form


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/octet-stream", "text/markdown", "image/jpeg"]
)
def test_any_other_body_is_the_prompt(server: Server, kind: str | None) -> None:
    headers = {"accept": JSON} | ({"content-type": kind} if kind else {})
    reply = server.post(data=PROMPT.encode(), headers=headers)
    assert reply.status_code == 200, reply.text
    assert reply.json()["usage"]["prompt_tokens"] == server.completion()["usage"]["prompt_tokens"]
    plain = server.post(data=PROMPT.encode(), headers={"content-type": kind} if kind else {})
    assert plain.headers["content-type"] == "text/plain; charset=utf-8"
    put = requests.put(f"{server.url}/predictions/gpt2", data=PROMPT.encode(), timeout=PATIENCE)
    assert put.status_code == 200


@pytest.mark.parametrize(
    ("encoding", "header"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", ""),
        ("utf-16", "utf-16"),
        ("utf-16-le", "UTF-16LE"),
        ("latin-1", "ISO-8859-1"),
        ("cp1252", "windows-1252"),
        ("shift_jis", "Shift_JIS"),
    ],
)
def test_a_text_is_read_in_its_charset(server: Server, encoding: str, header: str) -> None:
    prompt = "日本のきつね" if encoding == "shift_jis" else "Über den Fluss, señor"
    kind = f"text/plain; charset={header}" if header else "text/plain"
    headers = {"content-type": kind, "accept": JSON}
    reply = server.post(data=prompt.encode(encoding), headers=headers)
    assert reply.status_code == 200, reply.text
    expected = server.completion(prompt)["usage"]["prompt_tokens"]
    assert reply.json()["usage"]["prompt_tokens"] == expected
    if not server.is_bare:
        written = server.post(query=QUERY, data=prompt.encode(encoding), headers=headers).json()
        assert written["choices"][0]["text"] == server.text(prompt)


def test_words_that_curl_calls_a_form_are_the_prompt(gateway: Server, bare: Server) -> None:
    for words in ("some words", "100% sure & more = less", '{"a": 1}'):
        assert gateway.curl("-d", words, path=f"?{QUERY}") == gateway.text(words)
    # JSON whose type nobody named, as KServe's page sends it.
    body = json.dumps({"prompt": PROMPT, **WRITING})
    assert json.loads(gateway.curl("-d", body))["choices"][0]["text"] == gateway.text()
    kind = {"content-type": "application/x-www-form-urlencoded"}
    for words in ("some words", "100% sure"):
        reply = bare.post(data=words, headers=kind)
        assert reply.status_code == 400
        assert "`text/plain`" in reply.json()["error"]["message"]


# JSON


def test_json_objects_with_any_of_the_names(server: Server) -> None:
    expected = server.completion()["choices"]
    bodies: list[Any] = [
        {name: PROMPT, **WRITING} for name in ("data", "body", "prompt", "text", "input", "inputs")
    ]
    bodies += [
        {"data": {"prompt": PROMPT, **WRITING}},
        {"data": {"text": PROMPT}, **WRITING},
        {"data": PROMPT, "parameters": WRITING},
        {"prompt": PROMPT, "max_new_tokens": 6, "seed": 11, "temperature": 0.9},
    ]
    for body in bodies:
        reply = server.post(json=body)
        assert reply.status_code == 200, reply.text
        assert reply.json()["choices"] == expected, body
    assert server.post(json=PROMPT).json()["choices"][0]["text"]
    # A list as `prompt` is OpenAI's: one completion, a choice for each.
    choices = server.post(json={"data": [PROMPT, OTHER], **WRITING}).json()["choices"]
    assert choices == server.completion([PROMPT, OTHER])["choices"]
    ids = {"data": [5, 6, 7], **WRITING}
    plain = server.post(json=ids, headers={"accept": TEXT})
    assert plain.text == server.text([5, 6, 7])


def test_a_list_comes_back_as_a_list_each_as_it_would_be_alone(server: Server) -> None:
    objects = [
        {"data": PROMPT, **WRITING},
        {"prompt": OTHER, **WRITING, "max_tokens": 3, "logprobs": 1},
        {"text": OTHER, **WRITING, "n": 2, "echo": True},
    ]
    reply = server.post(json=objects)
    assert reply.status_code == 200, reply.text
    expected = [
        server.completion(PROMPT),
        server.completion(OTHER, max_tokens=3, logprobs=1),
        server.completion(OTHER, n=2, echo=True),
    ]
    got = reply.json()
    assert [each["choices"] for each in got] == [each["choices"] for each in expected]
    assert [each["usage"]["total_tokens"] for each in got] == [
        each["usage"]["total_tokens"] for each in expected
    ]
    assert len({each["id"] for each in got}) == 3
    texts = server.post(json=[PROMPT, OTHER]).json()
    assert [len(each["choices"]) for each in texts] == [1, 1]
    wrong = server.post(json=[{"data": PROMPT}, {"data": OTHER, "temperature": 9}])
    assert wrong.status_code == 400
    assert "item 1" in wrong.json()["error"]["message"]


def test_a_list_s_options_may_stand_in_the_query(gateway: Server) -> None:
    got = gateway.post(query=QUERY, json=[PROMPT, {"data": OTHER}]).json()
    expected = [gateway.text(PROMPT), gateway.text(OTHER)]
    assert [each["choices"][0]["text"] for each in got] == expected
    streamed = gateway.post(query=QUERY + "&stream=true", json=[PROMPT, OTHER], stream=True)
    pieces = ["", ""]
    for event in events(streamed)[:-1]:
        for choice in event["choices"]:
            pieces[choice["index"]] += choice["text"]
    assert pieces == expected
