"""What is counted of a prediction, what its query may say, and in which shape it is answered."""

from __future__ import annotations

import pytest
import requests

from tests.gateway.conftest import Service, events, wait_until
from tests.gateway.routes.predictions.asking import (
    EVENTS,
    JSON,
    OTHER,
    PROMPT,
    QUERY,
    TEXT,
    WRITING,
    Server,
    fields,
    form_of,
)
from tests.patience import PATIENCE


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
        before = service.metric("vllm:generation_tokens_total")
        request_id = f"counted-{number}"
        reply = gateway.post(headers={"x-request-id": request_id}, **options)
        assert reply.status_code == 200
        wait_until(lambda wanted=request_id: any(wanted in line for line in service.log))
        [line] = [each for each in service.records() if each.get("request_id") == request_id]
        assert line["prompt_tokens"] == expected["prompt_tokens"] * times
        assert line["completion_tokens"] == expected["completion_tokens"] * times
        assert line["finish_reasons"] == ["length"] * times
        assert service.metric("vllm:generation_tokens_total") - before == 6 * times


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
        assert requests.post(url, data=PROMPT.encode(), timeout=PATIENCE).text == expected
        assert requests.post(f"{url}&data={PROMPT}", timeout=PATIENCE).text == expected
        reply = requests.post(url, json={"data": PROMPT}, timeout=PATIENCE)
        assert reply.json()["choices"][0]["text"] == expected
        both = requests.post(f"{url}&data={PROMPT}", data=b"More", timeout=PATIENCE)
        assert both.status_code == 400
    form = requests.post(
        f"{bare.url}/invocations",
        files={"model_name": (None, "gpt2"), "data": ("story.txt", PROMPT)},
        timeout=PATIENCE,
    )
    assert form.status_code == 200
    # Its front end keeps the query of /predictions to itself.
    assert bare.post(query="data=Once").status_code == 400


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
