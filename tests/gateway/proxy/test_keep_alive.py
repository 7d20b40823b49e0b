"""Streams that stay alive: where nothing is written for long, events with empty text are sent."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from bench.nginx import find_nginx, nginx_command
from gpt2_client import Client, TextEvent
from tests.conftest import free_ports
from tests.gateway.conftest import Service, StartService, events, wait_until
from tests.gateway.proxy.test_streams import go_events_before_3_43, record
from tests.gateway.routes.test_chat import TALK, pack_talker
from tests.patience import PATIENCE

SECONDS = "0.3"
# What proxies wait for; by default they do for 60 s.
PROXY_SECONDS = (2, 6, 15)
NGINX = """\
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {url};
      proxy_http_version 1.1;
      proxy_read_timeout {seconds}s;
    }}
  }}
"""
WORDS = {"max_tokens": 6, "seed": 5, "ignore_eos": True, "stream": True}
PARAMETERS = {"max_new_tokens": 6, "seed": 5}
ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "completions": ("/v1/completions", {"prompt": "The king", **WORDS}),
    "counted": (
        "/v1/completions",
        {
            "prompt": "The king",
            **WORDS,
            "n": 2,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        },
    ),
    "logprobs": ("/v1/completions", {"prompt": "The king", **WORDS, "logprobs": 2, "echo": True}),
    "chats": ("/v1/chat/completions", {"messages": TALK, **WORDS}),
    "predictions": ("/predictions/talker", {"data": "The king", **WORDS}),
    "hugging face": (
        "/predictions/talker",
        {"inputs": "The king", "stream": True, "parameters": PARAMETERS},
    ),
    "tgi": ("/generate_stream", {"inputs": "The king", "parameters": PARAMETERS}),
    "kserve": (
        "/v2/models/talker/generate_stream",
        {"text_input": "The king", "id": "mine", "parameters": PARAMETERS},
    ),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talker")
    pack_talker(folder)
    return folder


@pytest.fixture(scope="module")
def talker(start_service: StartService, store: Path) -> Service:
    settings = {"MODEL_NAME": "talker", "MODEL_ARCHIVE": "talker.mar"}
    return start_service(store=store, STREAM_KEEPALIVE_SECONDS=SECONDS, **settings)


@contextlib.contextmanager
def silent(service: Service) -> Iterator[Callable[[], None]]:
    """Its worker stands still, as before a long prompt; what is yielded wakes it."""
    workers = service.workers()

    def wake() -> None:
        for worker in workers:
            worker.send_signal(signal.SIGCONT)

    for worker in workers:
        worker.send_signal(signal.SIGSTOP)
    try:
        yield wake
    finally:
        wake()


def asked(service: Service, **options: Any) -> requests.Response:
    """A stream whose head has come."""
    body = {"prompt": "The king", "stream": True, **options}
    return service.post("/v1/completions", json=body, stream=True)


def read(reply: requests.Response) -> Iterator[bytes]:
    """The events of a stream, as they come."""
    held = b""
    for piece in reply.iter_content(None):
        *whole, held = (held + piece).split(b"\n\n")
        yield from whole
    assert not held


def streamed(service: Service, name: str, *, pause: bool) -> tuple[list[bytes], list[bytes]]:
    """The silent events of a stream, some of them awaited with `pause`, and all the others."""
    path, body = ROUTES[name]
    silences = []
    with contextlib.ExitStack() as stack:
        if pause:
            stack.enter_context(silent(service))
        with service.post(path, json=body, stream=True) as reply:
            assert reply.status_code == 200, reply.text
            found = read(reply)
            while pause and len(silences) < 3:
                silences.append(next(found))
            stack.close()
            rest = list(found)
    return silences, rest


def value(event: bytes) -> Any:
    data = event.removeprefix(b"data: ").decode()
    return data if data == "[DONE]" else json.loads(data)


def as_silence(event: bytes) -> Any:
    """An event without what differs from one silence to the next, of one route."""
    found = value(event)
    if isinstance(found, dict) and "choices" in found:
        choices = [{**choice, "index": 0} for choice in found["choices"]]
        return {**found, "id": None, "created": None, "usage": None, "choices": choices}
    return found


def text_of(event: Any) -> str:
    """The text of an event, whichever route it is of."""
    if "choices" in event:
        choice = event["choices"][0]
        found = choice["text"] if "text" in choice else choice["delta"].get("content", "")
    elif "token" in event:
        found = event["token"]["text"]
    else:
        found = event["text_output"]
    return str(found)


def same_each_time(events: list[bytes]) -> list[Any]:
    """Events without what differs from one request to the next."""
    found = [value(event) for event in events]
    for event in found:
        if isinstance(event, dict) and "choices" in event:
            event["id"] = event["created"] = None
            if event.get("usage"):
                event["usage"].pop("prompt_tokens_details")
    return found


def text_counts(event: Any) -> bool:
    """Whether an event is more than a sign of life."""
    if not event.get("choices", True):
        return True  # of counts alone
    ends = "choices" in event and event["choices"][0]["finish_reason"] is not None
    return ends or bool(text_of(event)) or bool(event.get("generated_text"))


def by_choice(events: list[Any]) -> dict[Any, list[Any]]:
    """Events of each choice: those of two may come in another order."""
    found: dict[Any, list[Any]] = {}
    for event in events:
        choices = event.get("choices") if isinstance(event, dict) else None
        found.setdefault(choices[0]["index"] if choices else None, []).append(event)
    return found


class Counted(NamedTuple):
    """Events without the tokens counted at each, and these totals."""

    events: list[Any]
    totals: list[int]


def taken_counts(events: list[Any]) -> Counted:
    """Take the counts out of events."""
    totals = []
    for event in events:
        if isinstance(event, dict) and event.get("usage"):
            totals.append(event["usage"].pop("completion_tokens"))
            del event["usage"]["total_tokens"]
    return Counted(events, totals)


def shape(value: Any) -> Any:
    """The names of an event's fields, at every depth."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else None


@pytest.mark.parametrize("name", ROUTES)
def test_a_silent_stream_is_sent_events_that_count_as_nothing(talker: Service, name: str) -> None:
    _, undisturbed = streamed(talker, name, pause=False)
    silences, rest = streamed(talker, name, pause=True)
    # On a busy machine more of them come, in both.
    quiet = as_silence(silences[0])
    undisturbed = [event for event in undisturbed if as_silence(event) != quiet]
    rest = [event for event in rest if as_silence(event) != quiet]
    assert same_each_time(rest) == same_each_time(undisturbed)
    # An event amid the text is what they look like: a delta of text, or a token.
    amid = value(rest[1])
    for event in silences:
        assert text_of(value(event)) == ""
        if name != "logprobs":
            assert shape({**value(event), "usage": None}) == shape({**amid, "usage": None})
        if "usage" in amid:
            assert value(event)["usage"] is None
    ids = {(value(event).get("id"), value(event).get("created")) for event in silences}
    assert ids == {(amid.get("id"), amid.get("created"))}


@pytest.mark.parametrize("name", ROUTES)
def test_old_readers_find_an_event_in_every_block(talker: Service, name: str) -> None:
    """OpenAI's Go package before 3.43 takes comments for events; others split at blank lines."""
    path, body = ROUTES[name]
    with silent(talker) as wake, talker.post(path, json=body, stream=True) as reply:
        pieces = reply.iter_content(None)
        begun = next(pieces)
        assert begun.endswith(b"\n\n")
        wake()
        whole = begun + b"".join(pieces)
    in_go = go_events_before_3_43(whole)
    blocks = whole.split(b"\n\n")
    assert blocks.pop() == b""
    assert [block.removeprefix(b"data: ") + b"\n" for block in blocks] == in_go
    for event in in_go:
        assert event == b"[DONE]\n" or isinstance(json.loads(event), dict)


def test_where_tokens_are_told_nothing_is_sent_in_their_place(talker: Service) -> None:
    body = {"inputs": "The king", "parameters": {**PARAMETERS, "details": True}}
    waits = talker.metric("vllm:num_requests_running")
    replies: list[requests.Response] = []
    with silent(talker):
        asking = threading.Thread(
            target=lambda: replies.append(talker.post("/generate_stream", json=body))
        )
        asking.start()
        wait_until(lambda: talker.metric("vllm:num_requests_running") > waits)
        # As long as another stream, of another route, was sent three.
        with asked(talker) as other:
            found = read(other)
            for _ in range(3):
                next(found)
    asking.join(PATIENCE)
    assert len([event for event in events(replies[0]) if "token" in event]) == 6


def test_the_first_token_is_the_first_with_a_text(talker: Service) -> None:
    first, kept = "vllm:time_to_first_token_seconds_sum", "vllm:generation_tokens_total"
    seconds, tokens = talker.metric(first), talker.metric(kept)
    with Client(talker.url) as client, silent(talker) as wake:
        stream = client.stream("The king", model="talker", max_tokens=6, seed=5, ignore_eos=True)
        wake()
        assert all(event.text for event in stream if isinstance(event, TextEvent))
    wait_until(lambda: talker.metric(kept) == tokens + 6)
    assert talker.metric(first) > seconds + float(SECONDS)


def test_a_client_leaves_a_silent_stream_and_its_slot_is_free(talker: Service) -> None:
    with silent(talker), asked(talker, max_tokens=400) as reply:
        next(read(reply))
        reply.close()
        # Before the worker goes on: it could write all of it before it is seen that nobody reads.
        line = record(talker, reply)
    wait_until(lambda: talker.metric("vllm:num_requests_running") == 0)
    assert line["aborted"] == "client_gone" and "ttft_ms" not in line


def test_the_head_that_comes_early_says_what_the_later_one_would(talker: Service) -> None:
    body = {"prompt": "The king", "stream": True, "max_tokens": 8, "odd": 1, "ignore_eos": True}
    with silent(talker) as wake, talker.post("/v1/completions", json=body, stream=True) as reply:
        found = read(reply)
        next(found)
        wake()
        text = "".join(text_of(value(event)) for event in found if b"[DONE]" not in event)
    late = talker.post("/v1/completions", json={**body, "seed": int(reply.headers["x-seed"])})
    for name in ("x-ignored-fields", "x-model-digest", "x-seed", "content-type"):
        assert reply.headers[name] == late.headers[name], name
    assert text == "".join(text_of(event) for event in events(late)[:-1])
    assert record(talker, reply)["ignored_fields"] == "odd"


def test_what_will_be_refused_keeps_its_status(talker: Service) -> None:
    replies: list[requests.Response] = []
    bad = {"prompt": "The king", "stream": True, "temperature": 7}
    with silent(talker):
        asking = threading.Thread(
            target=lambda: replies.append(talker.post("/v1/completions", json=bad))
        )
        asking.start()
        with asked(talker) as other:
            found = read(other)
            for _ in range(3):
                next(found)
    asking.join(PATIENCE)
    assert replies[0].status_code == 400
    assert replies[0].json()["error"]["param"] == "temperature"


def test_a_refusal_behind_an_early_head_is_the_last_event(talker: Service) -> None:
    """Too long a prompt is seen by the handler alone."""
    body = {"prompt": [5] * 2000, "stream": True}
    with silent(talker) as wake, talker.post("/v1/completions", json=body, stream=True) as reply:
        found = read(reply)
        next(found)
        wake()
        *_, error, done = found
    assert value(error)["error"]["code"] == "context_length_exceeded" and value(done) == "[DONE]"
    assert record(talker, reply)["error"] == "context_length_exceeded"


def test_a_stream_that_waits_for_its_turn_is_kept_alive(talker: Service) -> None:
    with silent(talker) as wake, asked(talker, n=40, max_tokens=9) as first:
        with asked(talker, **WORDS) as second:
            found = read(second)
            assert talker.metric("vllm:num_requests_waiting") >= 1
            silences = [next(found) for _ in range(3)]
            wake()
            *_, done = found
        assert done == b"data: [DONE]" and events(first)[-1] == "[DONE]"
    assert {text_of(value(event)) for event in silences} == {""}
    assert record(talker, second)["queued_ms"] > 1000 * float(SECONDS)


@pytest.mark.parametrize("name", ["counted", "tgi", "kserve"])
def test_a_stream_that_waits_for_another_worker_is_kept_alive(talker: Service, name: str) -> None:
    path, body = ROUTES[name]
    body = json.loads(json.dumps(body).replace('tokens": 6', 'tokens": 400'))
    whole = list(read(talker.post(path, json=body, stream=True)))
    with talker.post(path, json=body, stream=True) as reply:
        found = read(reply)
        disturbed = [next(found)]
        for worker in talker.workers():
            worker.kill()
        disturbed += found
    counting = [each for each in disturbed if b"[DONE]" in each or text_counts(value(each))]
    before = [each for each in whole if b"[DONE]" in each or text_counts(value(each))]
    counts = [taken_counts(events) for events in (same_each_time(counting), same_each_time(before))]
    assert by_choice(counts[0].events) == by_choice(counts[1].events)
    # Of both choices together, so in the order in which their events came.
    assert all(each.totals == sorted(each.totals) for each in counts)
    assert counts[0].totals[-1:] == counts[1].totals[-1:]
    assert len(disturbed) > len(counting)
    wait_until(lambda: talker.get("/health/ready").status_code == 200)


@pytest.mark.parametrize("seconds", ["0.5", "0"])
def test_a_proxy_gives_up_only_who_is_not_kept_alive(
    start_service: StartService, store: Path, tmp_path: Path, seconds: str
) -> None:
    nginx = find_nginx()
    if nginx is None:
        pytest.skip("nginx is not installed")
    settings = {"MODEL_NAME": "talker", "MODEL_ARCHIVE": "talker.mar"}
    served = start_service(store=store, STREAM_KEEPALIVE_SECONDS=seconds, **settings)
    # On a machine that stands still for so long a longer wait is tried: without what keeps a
    # stream alive nginx gives up after each of them.
    for wait in PROXY_SECONDS:
        found = behind_a_proxy(nginx, served, tmp_path / str(wait), wait)
        if seconds == "0":
            assert found == ["504"]
            return
        if found[-1:] == ["data: [DONE]"]:
            break
    else:
        pytest.fail(f"nginx gave up: {found}")
    assert len(found) > 4


def behind_a_proxy(nginx: str, served: Service, directory: Path, wait: int) -> list[str]:
    """The events of a stream that is silent twice as long as nginx waits, or nginx's status."""
    (port,) = free_ports(1)
    directory.mkdir()
    server = NGINX.format(port=port, url=served.url, seconds=wait)
    proxy = subprocess.Popen(nginx_command(nginx, directory, server))
    path, body = ROUTES["chats"]
    url = f"http://127.0.0.1:{port}{path}"
    found: list[str] = []
    try:
        wait_until((directory / "nginx.pid").exists)
        with silent(served) as wake:
            reply = requests.post(url, json=body, stream=True, timeout=PATIENCE)
            if not reply.ok:
                return [str(reply.status_code)]
            end = time.monotonic() + 2 * wait
            for event in read(reply):
                found.append(event.decode())
                if time.monotonic() > end:
                    wake()
    except (AssertionError, requests.RequestException) as error:  # cut, or with nginx's own page
        found.append(repr(error))
    finally:
        proxy.terminate()
        proxy.wait(PATIENCE)
    return found
