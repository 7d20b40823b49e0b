"""A stream that broke is taken up where the same model answers, never spliced from two texts."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2_client import (
    Client,
    Event,
    FinishEvent,
    Logprobs,
    Retry,
    ServerError,
    StreamBroken,
    TextEvent,
    Timeout,
    Usage,
    UsageEvent,
)
from gpt2_client.stream import Written
from gpt2_client.transport import Transport
from tests.client.scripted_server import END, USAGE, Answer, chunk, scripted

ONE, OTHER = {"x-model-digest": "one"}, {"x-model-digest": "other"}
AGAIN = Retry(attempts=2, first_wait=0)
LOST = b'data: {"error": {"message": "lost", "type": "server_error", "code": "worker_lost"}}\n\n'


def streamed(*answers: Answer, retries: Retry = AGAIN, **options: Any) -> tuple[list[Event], Any]:
    with scripted(*answers) as server, Client(server.url, retries=retries) as client:
        try:
            return list(client.stream("Hello", **options)), server.asked
        finally:
            assert server.answers == [], "an answer was not asked for"


@pytest.mark.parametrize(
    "first",
    [
        Answer(pieces=[chunk(" on")], cut=True, headers=ONE),
        Answer(pieces=[chunk(" on")], headers=ONE),
        Answer(pieces=[chunk(" once"), LOST, END], headers=ONE),
        Answer(pieces=[chunk(" once more", finish="length"), USAGE], cut=True, headers=ONE),
        Answer(502, {"error": {"message": "nginx found nobody"}}),
    ],
    ids=["cut", "no end", "worker lost", "cut before the end", "not begun"],
)
def test_a_broken_stream_goes_on_with_what_is_new(first: Answer) -> None:
    whole = [chunk(" once"), chunk(" more", finish="length"), USAGE, END]
    events, asked = streamed(first, Answer(pieces=whole, headers=ONE))
    assert "".join(each.text for each in events if isinstance(each, TextEvent)) == " once more"
    assert events[-2:] == [FinishEvent(0, "length"), UsageEvent(Usage(2, 2, 4))]
    assert len([each for each in events if isinstance(each, FinishEvent)]) == 1
    seeds = [each.body["seed"] for each in asked]
    assert seeds[0] == seeds[1] and 0 <= seeds[0] < 2**63


def test_a_seed_that_is_given_stays() -> None:
    _, asked = streamed(Answer(pieces=[chunk("a", finish="stop"), END]), seed=7)
    assert asked[0].body["seed"] == 7


BROKEN = Answer(pieces=[chunk(" once")], cut=True, headers=ONE)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([Answer(pieces=[chunk(" o")], cut=True)], "broke before the text was complete"),
        ([BROKEN, Answer(pieces=[chunk(" twice"), END], headers=ONE)], "a different completion"),
        (
            [BROKEN, Answer(pieces=[chunk(" on", finish="stop"), END], headers=ONE)],
            "a different completion",
        ),
        ([BROKEN, *[Answer(pieces=[chunk(" once"), END], headers=OTHER)] * 2], "a different model"),
        ([BROKEN, *[Answer(pieces=[chunk(" once"), END])] * 2], "a different model"),
        ([BROKEN] * 3, "broke before the text was complete"),
        ([BROKEN, Answer(400, {"error": {"message": "not today"}})], "not today"),
    ],
    ids=["no digest", "differs", "ends early", "other digest", "digest gone", "no progress", "400"],
)
def test_a_stream_that_cannot_be_taken_up_is_told_as_broken(
    answers: list[Answer], said: str
) -> None:
    with pytest.raises(StreamBroken, match=said):
        streamed(*answers)


def test_an_answer_that_is_not_read_is_hung_up_all_the_same() -> None:
    # As one of another model, or a stream that is left before its first event.
    hold = threading.Event()
    with scripted(Answer(pieces=[chunk("a")], hold=hold)) as server:
        transport = Transport(server.url, None, Timeout(), AGAIN)
        response = transport.open("POST", "/v1/completions", body={})
        transport.chunks(response).close()
        is_closed = response.raw.closed
        hold.set()
        transport.close()
    assert is_closed


def test_retries_begin_anew_where_there_is_progress() -> None:
    pieces = [chunk(letter) for letter in "abcdef"]
    answers = [Answer(pieces=pieces[: n + 1], cut=True, headers=ONE) for n in range(5)]
    end = Answer(pieces=[*pieces, chunk("", finish="stop"), END], headers=ONE)
    events, asked = streamed(*answers, end)
    assert "".join(each.text for each in events if isinstance(each, TextEvent)) == "abcdef"
    assert len(asked) == 6


def test_none_is_taken_up_without_retries_or_for_an_error_of_its_own() -> None:
    with pytest.raises(StreamBroken):
        streamed(BROKEN, retries=Retry(attempts=0))
    poison = LOST.replace(b"worker_lost", b"poison_request")
    with pytest.raises(ServerError, match="lost"):
        streamed(Answer(pieces=[chunk("a"), poison, END], headers=ONE))


def logprobs(letters: str) -> Logprobs:
    count = len(letters)
    return Logprobs(tuple(letters), (-1.0,) * count, (None,) * count, tuple(range(count)))


def cut(text: str, places: set[int]) -> list[str]:
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[begin:end] for begin, end in itertools.pairwise(edges)]


cuts = st.sets(st.integers(0, 30))
texts = st.lists(st.text("abc", max_size=12), min_size=1, max_size=3)


@given(texts=texts, first=cuts, second=cuts, breaks=st.integers(0, 40), data=st.data())
def test_however_two_answers_are_cut_each_token_comes_once(
    texts: list[str], first: set[int], second: set[int], breaks: int, data: st.DataObject
) -> None:
    def answer(places: set[int]) -> list[Event]:
        waiting: list[list[Event]] = []
        for index, text in enumerate(texts):
            events: list[Event] = [
                TextEvent(index, piece, logprobs(piece)) for piece in cut(text, places)
            ]
            waiting.append([*events, FinishEvent(index, "stop")])
        woven: list[Event] = []
        while any(waiting):
            chosen = data.draw(st.sampled_from([each for each in waiting if each]))
            woven.append(chosen.pop(0))
        return woven

    written, given_out = Written(), list[Event]()
    for event in answer(first)[:breaks]:
        given_out += written.beyond(event)
    written.begin_again()
    for event in answer(second):
        given_out += written.beyond(event)
    for index, text in enumerate(texts):
        own = [each for each in given_out if getattr(each, "index", None) == index]
        pieces = [each for each in own if isinstance(each, TextEvent)]
        assert "".join(each.text for each in pieces) == text
        tokens = [token for each in pieces if each.logprobs for token in each.logprobs.tokens]
        assert "".join(tokens) == text
        assert own[-1] == FinishEvent(index, "stop")
        assert sum(isinstance(each, FinishEvent) for each in own) == 1
