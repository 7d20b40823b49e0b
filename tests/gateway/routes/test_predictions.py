"""Every prediction of TorchServe's inference page, at the gateway and at a bare server.

A bare server is TorchServe with the archive alone. What its front end loses on the way to a handler
is marked, and stands in docs/torchserve.md as not reachable there.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from gateway.torchserve.process import TorchServe
from tests.gateway.conftest import Service, events, wait_until

PROMPT = "Once upon a time, the fox"
OTHER = "The old house"
WRITING = {"max_tokens": 6, "seed": 11, "temperature": 0.9}
QUERY = "max_tokens=6&seed=11&temperature=0.9"
END_OF_TEXT = 0  # of the embedded model
JSON, TEXT, EVENTS = "application/json", "text/plain", "text/event-stream"


@dataclass(frozen=True)
class Server:
    """Where predictions are asked for."""

    url: str
    is_bare: bool

    def post(self, path: str = "", query: str = "", **options: Any) -> requests.Response:
        url = f"{self.url}/predictions/gpt2{path}{'?' if query else ''}{query}"
        return requests.post(url, timeout=60, **options)

    def completion(self, prompt: Any = PROMPT, **options: Any) -> dict[str, Any]:
        """What OpenAI's route answers: the measure of all others."""
        reply = self.post("/1.0/v1/completions", json={"prompt": prompt, **WRITING, **options})
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    def text(self, prompt: Any = PROMPT, **options: Any) -> str:
        return str(self.completion(prompt, **options)["choices"][0]["text"])

    def curl(self, *words: str, path: str = "") -> str:
        command = ["curl", "-sS", "--fail-with-body", f"{self.url}/predictions/gpt2{path}", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module", params=["gateway", "bare"])
def server(request: pytest.FixtureRequest) -> Server:
    if request.param == "gateway":
        service: Service = request.getfixturevalue("service")
        return Server(service.url, is_bare=False)
    torchserve: TorchServe = request.getfixturevalue("torchserve")
    return Server(torchserve.settings.inference_url, is_bare=True)


@pytest.fixture
def gateway(service: Service) -> Server:
    return Server(service.url, is_bare=False)


@pytest.fixture
def bare(torchserve: TorchServe) -> Server:
    return Server(torchserve.settings.inference_url, is_bare=True)


@pytest.fixture
def story(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "story.txt"
    path.write_text(PROMPT)
    yield str(path)


def text_of(reply: requests.Response) -> str:
    """The text of a reply that is one completion."""
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith(JSON)
    [choice] = reply.json()["choices"]
    return str(choice["text"])


def fields(*prompts: Any, name: str = "data", **more: Any) -> dict[str, Any]:
    """Options of `requests` that send a form as `curl -F` does."""
    options = {key: (None, str(value)) for key, value in {**WRITING, **more}.items()}
    return {"files": [(name, prompt) for prompt in prompts] + list(options.items())}


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
    put = requests.put(f"{server.url}/predictions/gpt2", data=PROMPT.encode(), timeout=60)
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


def test_the_log_and_the_metrics_count_every_form(service: Service, gateway: Server) -> None:
    """What was written is told to the gateway beside the answer, whatever its form."""
    expected = gateway.completion()["usage"]
    inputs = {"inputs": PROMPT, "parameters": WRITING}
    for number, (options, times) in enumerate(
        [
            (fields((None, PROMPT)), 1),
            (fields((None, PROMPT), (None, PROMPT)), 2),
            ({"json": [{"data": PROMPT, **WRITING}] * 3}, 3),
            ({"json": inputs}, 1),
            ({"json": inputs | {"stream": True}}, 1),
        ]
    ):
        before = service.metric("gpt2_generation_tokens_total")
        request_id = f"counted-{number}"
        reply = gateway.post(headers={"x-request-id": request_id}, **options)
        assert reply.status_code == 200
        wait_until(lambda wanted=request_id: any(wanted in line for line in service.log))
        [line] = [each for each in service.records() if each.get("request_id") == request_id]
        assert line["prompt_tokens"] == expected["prompt_tokens"] * times
        assert line["completion_tokens"] == expected["completion_tokens"] * times
        assert line["finish_reasons"] == ["length"] * times
        assert service.metric("gpt2_generation_tokens_total") - before == 6 * times


# The query


def test_the_query_holds_options_and_prompts(gateway: Server, story: str) -> None:
    expected = gateway.text()
    assert gateway.curl("-T", story, path=f"?{QUERY}") == expected
    assert gateway.post(query=f"data={PROMPT}&{QUERY}").text == expected
    assert gateway.post("/1.0", query=f"prompt={PROMPT}&{QUERY}").text == expected
    several = gateway.post(query=f"data={PROMPT}&data={OTHER}&{QUERY}")
    assert several.json() == [expected, gateway.text(OTHER)]
    assert gateway.post(query=QUERY, json={"data": PROMPT}).json()["choices"][0]["text"] == expected
    streamed = gateway.post(query=QUERY + "&stream=True", data=PROMPT, stream=True)
    assert "".join(e["choices"][0]["text"] for e in events(streamed)[:-1]) == expected


def test_nothing_that_is_sent_is_dropped_without_a_word(gateway: Server) -> None:
    for options in (
        {"query": QUERY + "&customized=true&%C3%A9=1", "data": PROMPT},
        fields((None, PROMPT), customized="1", é="1"),
        {"json": {"data": PROMPT, **WRITING, "customized": True, "é": 1}},
        {"json": [{"data": PROMPT, "customized": 1}, {"data": OTHER, "é": 1, "customized": 2}]},
    ):
        reply = gateway.post(**options)
        assert reply.status_code == 200, reply.text
        assert set(reply.headers["x-ignored-fields"].split(",")) == {"customized", "%C3%A9"}


def test_a_bare_server_reads_queries_where_its_front_end_hands_them_on(bare: Server) -> None:
    expected = bare.text()
    for path in ("/invocations?model_name=gpt2&", "/models/gpt2/invoke?", "/gpt2/predict?"):
        url = f"{bare.url}{path}{QUERY}"
        assert requests.post(url, data=PROMPT.encode(), timeout=60).text == expected
        assert requests.post(f"{url}&data={PROMPT}", timeout=60).text == expected
        reply = requests.post(url, json={"data": PROMPT}, timeout=60)
        assert reply.json()["choices"][0]["text"] == expected
        both = requests.post(f"{url}&data={PROMPT}", data=b"More", timeout=60)
        assert both.status_code == 400
    form = requests.post(
        f"{bare.url}/invocations",
        files={"model_name": (None, "gpt2"), "data": ("story.txt", PROMPT)},
        timeout=60,
    )
    assert form.status_code == 200
    # Its front end keeps the query of /predictions to itself.
    assert bare.post(query="data=Once").status_code == 400


# The form of the answer


def form_of(reply: requests.Response) -> str:
    assert reply.status_code == 200, reply.text
    return reply.headers["content-type"].split(";")[0]


@pytest.mark.parametrize(
    ("accept", "of_text", "of_json"),
    [
        (None, TEXT, JSON),
        ("*/*", TEXT, JSON),
        ("application/json, text/plain, */*", TEXT, JSON),
        (JSON, JSON, JSON),
        (TEXT, TEXT, TEXT),
        (EVENTS, EVENTS, EVENTS),
        ("text/plain;q=0.2, application/json", JSON, JSON),
    ],
)
def test_accept_chooses_where_the_body_leaves_it_open(
    server: Server, accept: str | None, of_text: str, of_json: str
) -> None:
    headers = {"accept": accept}
    short = {"max_tokens": 2}
    assert form_of(server.post(data=b"Once", headers=headers)) == of_text
    assert form_of(server.post(files={"data": "Once"}, headers=headers)) == of_json
    assert form_of(server.post(json={"data": "Once", **short}, headers=headers)) == of_json
    said = server.post(json={"data": "Once", **short, "stream": True}, headers=headers)
    assert form_of(said) == EVENTS
    said = server.post(json={"data": "Once", **short, "stream": False}, headers=headers)
    assert form_of(said) != EVENTS
    # It never decides on OpenAI's route, whose SDK sends `Accept: application/json` with `stream`.
    route = "/1.0/v1/completions"
    said = server.post(route, json={"prompt": "Once", **short, "stream": True}, headers=headers)
    assert form_of(said) == EVENTS
    assert form_of(server.post(route, json={"prompt": "Once", **short}, headers=headers)) == JSON


# Hugging Face's form


def test_hugging_face_s_form_means_what_the_pipeline_means(server: Server) -> None:
    def ask(inputs: Any = PROMPT, **parameters: Any) -> Any:
        reply = server.post(json={"inputs": inputs, "parameters": parameters})
        assert reply.status_code == 200, reply.text
        return reply.json()

    writing = {"max_new_tokens": 6, "seed": 11, "temperature": 0.9}
    text = server.text()
    assert ask(**writing) == [{"generated_text": PROMPT + text}]
    assert ask(**writing, return_full_text=True) == [{"generated_text": PROMPT + text}]
    assert ask(**writing, return_full_text=False) == [{"generated_text": text}]
    greedy = server.text(temperature=0)
    assert ask(**writing, do_sample=False) == [{"generated_text": PROMPT + greedy}]
    three = [choice["text"] for choice in server.completion(n=3)["choices"]]
    expected = [{"generated_text": PROMPT + each} for each in three]
    assert ask(**writing, num_return_sequences=3) == expected
    both = [[{"generated_text": each + server.text(each)}] for each in (PROMPT, OTHER)]
    assert ask([PROMPT, OTHER], **writing) == both
    stopped = server.text(stop=["e"])
    for name in ("stop", "stop_strings", "stop_sequence"):
        assert ask(**writing, **{name: ["e"]}) == [{"generated_text": PROMPT + stopped}]
    refused = server.post(json={"inputs": PROMPT, "parameters": {"typical_p": 0.9}})
    assert refused.status_code == 400
    assert "`typical_p`" in refused.json()["error"]["message"]
    options = {"inputs": PROMPT, "options": {"use_cache": False}}
    reply = server.post(json=options)
    assert list(reply.json()[0]) == ["generated_text"]
    assert reply.headers["x-ignored-fields"] == "options"


def test_hugging_face_s_lengths_are_those_of_transformers(server: Server) -> None:
    prompt_tokens = server.completion()["usage"]["prompt_tokens"]
    # A bias that ends every text at once, unless `min_new_tokens` holds it back.
    end = {"logit_bias": {str(END_OF_TEXT): 100}}
    for parameters, expected in (
        ({"max_length": prompt_tokens + 4}, server.text(max_tokens=4)),
        ({"max_length": 3, "max_new_tokens": 5}, server.text(max_tokens=5)),
        ({"max_new_tokens": 5, **end}, ""),
        ({"max_new_tokens": 5, "min_new_tokens": 3, **end}, server.text(max_tokens=3)),
    ):
        options = {**parameters, "seed": 11, "temperature": 0.9, "return_full_text": False}
        reply = server.post(json={"inputs": PROMPT, "parameters": options})
        assert reply.json() == [{"generated_text": expected}], parameters
    for parameters in ({"max_length": 3}, {"min_new_tokens": 5, "max_new_tokens": 4}):
        refused = server.post(json={"inputs": PROMPT, "parameters": parameters})
        assert refused.status_code == 400
        assert next(iter(parameters)).replace("_new", "") in refused.json()["error"]["message"]


def test_hugging_face_s_details_and_streams_tell_every_token(server: Server) -> None:
    client = InferenceClient(model=f"{server.url}/predictions/gpt2")
    options: dict[str, Any] = {"max_new_tokens": 6, "seed": 11, "temperature": 0.9}
    whole = server.completion(logprobs=0)
    [choice] = whole["choices"]
    told = client.text_generation(PROMPT, details=True, **options)
    assert told.generated_text == PROMPT + choice["text"]
    assert told.details.generated_tokens == whole["usage"]["completion_tokens"]
    assert told.details.finish_reason == "length"
    assert told.details.seed == 11
    assert "".join(token.text for token in told.details.tokens) == choice["text"]
    logprobs = [token.logprob for token in told.details.tokens]
    assert logprobs == pytest.approx(choice["logprobs"]["token_logprobs"])

    events = list(client.text_generation(PROMPT, details=True, stream=True, **options))
    assert [event.token.id for event in events] == [token.id for token in told.details.tokens]
    assert [event.generated_text for event in events[:-1]] == [None] * 5
    assert events[-1].generated_text == PROMPT + choice["text"]
    assert events[-1].details.finish_reason == "length"
    pieces = client.text_generation(PROMPT, stream=True, **options)
    assert "".join(pieces) == choice["text"]
    stopped = client.text_generation(PROMPT, details=True, stop=[choice["text"][3]], **options)
    assert stopped.details.finish_reason == "stop_sequence"
    body = {"inputs": PROMPT, "parameters": {"logit_bias": {str(END_OF_TEXT): 100}}}
    ended = server.post(json=body | {"stream": True}).text
    assert '"eos_token"' in ended and '"special":true' in ended and "[DONE]" not in ended
    several = server.post(json={"inputs": [PROMPT, OTHER], "stream": True})
    assert several.status_code == 400


def test_hugging_face_s_own_client_writes(server: Server) -> None:
    client = InferenceClient(model=f"{server.url}/predictions/gpt2")
    options: dict[str, Any] = {"max_new_tokens": 6, "seed": 11, "temperature": 0.9}
    assert client.text_generation(PROMPT, **options) == PROMPT + server.text()
    alone = client.text_generation(PROMPT, **options, return_full_text=False)
    assert alone == server.text()
    with pytest.raises(HfHubHTTPError, match="`temperature` must be"):
        client.text_generation(PROMPT, temperature=9)
    greedy = client.text_generation(PROMPT, max_new_tokens=6, do_sample=False)
    assert greedy == PROMPT + server.text(temperature=0)


# What is refused


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
def test_broken_forms_are_400s_and_cost_nothing(
    gateway: Server, content_type: str, body: bytes
) -> None:
    reply = gateway.post(data=body, headers={"content-type": content_type})
    assert reply.status_code == 400, reply.text[:200]
    assert reply.elapsed.total_seconds() < 3
