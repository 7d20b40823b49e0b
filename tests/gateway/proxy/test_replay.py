"""A worker that is lost costs no client anything: replies are asked for again, streams go on."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
import requests

from gateway.proxy.prediction import COMPLETIONS, JSON_TYPE, Prediction
from gateway.proxy.replay import MOST_KEPT_BYTES, MOST_LOSSES, MOST_STALLS, Lost, Replay
from gateway.replicas.in_flight import Abort
from handler.replies import sideband
from tests.gateway.conftest import Service, StartService, wait_until
from tests.patience import PATIENCE

REPLAYS = "gpt2_request_replays_total"
LONG = {"prompt": "The old captain", "seed": 5, "max_tokens": 400, "ignore_eos": True}


@pytest.fixture(scope="module")
def fragile(start_service: StartService) -> Service:
    return start_service()


@pytest.fixture(autouse=True)
def _is_ready(fragile: Service) -> None:
    wait_until(lambda: fragile.get("/health/ready").status_code == 200)


def kill_worker(service: Service) -> None:
    for worker in service.workers():
        with contextlib.suppress(psutil.Error):
            worker.kill()


def kill_java(service: Service) -> None:
    for child in service.descendants():
        with contextlib.suppress(psutil.Error):
            if child.name() == "java":
                child.kill()


def chunks(reply: requests.Response) -> Iterator[str]:
    """The data of each event, as it comes."""
    for line in reply.iter_lines(chunk_size=1):
        if line:
            assert line.startswith(b"data: "), line
            yield line.removeprefix(b"data: ").decode()


def stream(
    service: Service, body: dict[str, Any], disturb: Callable[[Service], None] | None = None
) -> list[Any]:
    """All events of a stream, each as JSON; `disturb` is called once the first has come."""
    with service.post("/v1/completions", json={**body, "stream": True}, stream=True) as reply:
        assert reply.status_code == 200, reply.text
        found = []
        for data in chunks(reply):
            if disturb is not None and not found:
                disturb(service)
            found.append(data if data == "[DONE]" else json.loads(data))
    return found


def without_times(found: list[Any]) -> dict[int, list[Any]]:
    """The events of each choice, without what differs from one request to the next."""
    assert found[-1] == "[DONE]"
    by_choice: dict[int, list[Any]] = {}
    ids = {(event["id"], event["created"]) for event in found[:-1]}
    assert len(ids) == 1, ids
    for event in found[:-1]:
        event = {**event, "id": "", "created": 0}
        index = event["choices"][0]["index"] if event["choices"] else -1
        if index < 0:  # what was cached may differ
            event["usage"].pop("prompt_tokens_details")
        by_choice.setdefault(index, []).append(event)
    return by_choice


def replayed(service: Service, run: Callable[[], Any], expected: Any) -> None:
    """What is cut off gives what is expected; what was written before the kill came, too.

    The latter says nothing of being replayed: then it is done again.
    """
    before = service.metric(REPLAYS)

    def was_cut() -> bool:
        assert run() == expected
        return service.metric(REPLAYS) > before

    wait_until(was_cut)


@pytest.mark.parametrize(
    ("kill", "options"),
    [
        (kill_worker, {"n": 4, "stream_options": {"include_usage": True}}),
        (kill_worker, {"logprobs": 2, "echo": True, "temperature": 1.0, "n": 2}),
        (kill_java, {"repetition_penalty": 1.2}),
    ],
    ids=["worker", "logprobs", "java"],
)
def test_a_stream_outlives_its_worker_event_for_event(
    fragile: Service, options: dict[str, Any], kill: Callable[[Service], None]
) -> None:
    body = {**LONG, **options}
    undisturbed = without_times(stream(fragile, body))
    replayed(fragile, lambda: without_times(stream(fragile, body, kill)), undisturbed)


def raw_stream(service: Service, path: str, body: dict[str, Any], *, kills: bool) -> bytes:
    """A stream as it comes, all of it; with `kills` its worker is killed behind the first event."""
    with service.post(path, json=body | {"stream": True}, stream=True) as reply:
        assert reply.status_code == 200, reply.text
        pieces = reply.iter_content(None)
        received = next(pieces)
        if kills:
            kill_worker(service)
        return bytes(received + b"".join(pieces))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/predictions/gpt2", "inputs"),
        ("/v2/models/gpt2/generate_stream", "text_input"),
    ],
)
def test_a_stream_of_another_form_outlives_its_worker_to_the_byte(
    fragile: Service, path: str, name: str
) -> None:
    """Hugging Face's, TGI's, KServe's."""
    asked = {name: "The old captain", "parameters": {"max_new_tokens": 300, "seed": 5}}
    undisturbed = raw_stream(fragile, path, asked, kills=False)
    replayed(fragile, lambda: raw_stream(fragile, path, asked, kills=True), undisturbed)


def test_such_a_stream_without_a_seed_goes_on_with_the_one_it_began_with(fragile: Service) -> None:
    parameters = {"max_new_tokens": 300, "do_sample": True, "details": True}
    asked = {"inputs": "The old captain", "parameters": parameters}
    received = raw_stream(fragile, "/predictions/gpt2", asked, kills=True)
    events = [json.loads(line[5:]) for line in received.splitlines() if line]
    assert [event["index"] for event in events] == list(range(1, len(events) + 1))
    seed = events[-1]["details"]["seed"]
    asked["parameters"] = parameters | {"seed": seed}
    assert raw_stream(fragile, "/predictions/gpt2", asked, kills=False) == received


def test_whole_replies_are_asked_for_again(fragile: Service) -> None:
    expected = [fragile.complete(**LONG | {"seed": seed}).json()["choices"] for seed in range(6)]
    got: list[Any] = [None] * 6

    def ask(seed: int) -> None:
        reply = fragile.complete(**LONG | {"seed": seed})
        got[seed] = reply.json().get("choices", reply.text)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: fragile.metric("vllm:num_requests_running") > 0)
    kill_worker(fragile)
    for thread in threads:
        thread.join(PATIENCE)
    assert got == expected


FIRST = b'{"id":"a","created":1,"seed":2,"choice":0,"sample":0,"tokens":[5]}'
CARD = {"engine": "native", "content_sha256": "abc"}


def begun(frames: list[bytes], card: dict[str, Any] | None = None) -> Replay:
    """A stream of which these frames' events were sent, and whose worker is lost."""
    prediction = Prediction("gpt2", "", COMPLETIONS, b'{"prompt":"A","n":2}', JSON_TYPE)
    replay = Replay(prediction, 60)
    replay.begin_stream(CARD if card is None else card)
    replay.keep(frames, b"")
    replay.lose(Lost())
    return replay


def test_a_stream_goes_on_with_the_same_model_alone() -> None:
    replay = begun([FIRST])
    assert replay.may_go_on(CARD)
    assert not replay.may_go_on(CARD | {"content_sha256": "another"})
    torch = CARD | {"engine": "torch"}
    assert not begun([FIRST], torch).may_go_on(torch), "its bits depend on neighbours"
    assert not begun([]).may_go_on(CARD), "it was lost before its first event"
    assert not begun([b'{"choice":0,"tokens":[5]}']).may_go_on(CARD), "of another form"


def test_what_is_killed_again_and_again_is_given_up_and_never_to_blame() -> None:
    replay = begun([FIRST])
    for _ in range(MOST_LOSSES - 1):
        replay.lose(Lost(is_loss=False))
        replay.lose(Lost())
    assert replay.may_go_on(CARD) and not replay.is_suspect
    replay.lose(Lost())
    assert not replay.may_go_on(CARD) and replay.verdict(Lost()) is Abort.WORKER_LOST


def test_only_a_crash_of_who_was_alone_is_its_own() -> None:
    replay = begun([FIRST])
    replay.lose(Lost(), crashed=True)
    assert replay.may_go_on(CARD) and not replay.is_suspect
    replay.lose(Lost(), crashed=True)
    assert replay.may_go_on(CARD) and replay.is_suspect, "from now on it runs alone"
    replay.lose(Lost())
    assert replay.may_go_on(CARD), "a kill is not its fault, alone or not"
    replay.lose(Lost(), crashed=True)
    assert not replay.may_go_on(CARD) and replay.verdict(Lost()) is Abort.POISON


def test_what_stands_still_again_is_given_up() -> None:
    replay = begun([FIRST])
    for _ in range(MOST_STALLS):
        assert replay.may_go_on(CARD)
        replay.lose(Lost(Abort.STALLED))
    assert not replay.may_go_on(CARD)
    assert replay.verdict(Lost(Abort.STALLED)) is Abort.STALLED


def test_a_stream_too_long_to_be_kept_is_not_gone_on_with() -> None:
    replay = begun([FIRST])
    replay.keep([b"x" * MOST_KEPT_BYTES], b"")
    assert not replay.may_go_on(CARD)


def test_what_was_sent_of_each_choice_is_put_together() -> None:
    more = [
        b'{"choice":1,"sample":1,"tokens":[7],"shown":3,"cached":1}',
        b'{"choice":0,"sample":0,"tokens":[],"finish":"stop"}',
        b'{"choice":1,"sample":1,"tokens":[8,9],"shown":11}',
    ]
    asked = json.loads(begun([FIRST, *more]).body())
    assert asked.pop(sideband.RESUME) == {
        "id": "a",
        "created": 1,
        "seed": 2,
        "choices": [
            {"choice": 0, "tokens": [5], "finish": "stop"},
            {"choice": 1, "tokens": [7, 8, 9], "shown": 11, "cached": 1},
        ],
    }
    assert asked == {"prompt": "A", "n": 2}
