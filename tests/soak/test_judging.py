"""A soak finds what is wrong: in replies, and in what it reports."""

from __future__ import annotations

import json
from typing import Any

import pytest

from soak import replies, report
from soak.asking import RIGHT, WRONG, Outcome
from soak.faults import FAULTS
from soak.questions import KINDS, STREAMED, draw
from soak.replies import Broken
from soak.run import Event, Result

ABOUT = {"seed": 1, "clients": 2}


def event(text: str, finish: str | None = None, token: str | None = None) -> dict[str, Any]:
    logprobs = None if token is None else {"tokens": [token], "token_logprobs": [-1.0]}
    choice = {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish}
    return {"id": "a", "created": 1, "choices": [choice]}


def stream(*events: Any, end: str = "data: [DONE]\n\n") -> bytes:
    return ("".join(f"data: {json.dumps(each)}\n\n" for each in events) + end).encode()


def test_however_a_stream_is_cut_into_events_it_is_the_same() -> None:
    pieces = stream(event("a", token="a"), event("b", token="b"), event("", "stop"))
    whole = event("ab", "stop", "a")
    whole["choices"][0]["logprobs"] = {"tokens": ["a", "b"], "token_logprobs": [-1.0, -1.0]}
    assert replies.stream(pieces) == replies.stream(stream(whole))
    assert replies.stream(pieces) != replies.stream(stream(event("ac", "stop")))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        stream(event("a"), end=""),
        stream({"error": {"code": "worker_lost"}}),
        stream(event("a"), event("b") | {"id": "another"}),
        b"data: {\n\ndata: [DONE]\n\n",
        b": a comment\n\ndata: [DONE]\n\n",
    ],
    ids=["nothing", "no end", "an error", "two ids", "no JSON", "no event"],
)
def test_a_stream_that_is_broken_is_a_failure(body: bytes) -> None:
    with pytest.raises(Broken):
        replies.stream(body)


def test_of_a_whole_reply_ids_and_times_do_not_count_and_errors_are_failures() -> None:
    one = b'{"id": "a", "created": 1, "choices": [{"text": "x"}]}'
    other = b'{"id": "b", "created": 2, "choices": [{"text": "x"}]}'
    assert replies.whole(200, one) == replies.whole(200, other)
    with pytest.raises(Broken, match="503 worker_lost"):
        replies.whole(503, b'{"error": {"code": "worker_lost"}}')


def test_the_same_seed_asks_the_same_questions_of_all_kinds() -> None:
    asked = draw(5, 2)
    assert asked == draw(5, 2) and asked != draw(6, 2)
    assert len(asked) == 2 * (len(KINDS) + len(STREAMED))


def test_one_wrong_reply_one_broken_promise_or_one_process_left_is_not_good() -> None:
    right = [Outcome("whole", 0.0, 0.1, RIGHT)]
    assert report.is_good(Result(1.0, right))
    assert not report.is_good(Result(1.0, []))
    wrong = Outcome("whole", 0.0, 0.1, WRONG, "another text")
    found = Result(1.0, [*right, wrong], [Event("kill-worker", 0.5, 2.0)])
    assert not report.is_good(found)
    assert not report.is_good(Result(1.0, right, [Event("bad-json", 0.5, None, "got 500")]))
    assert not report.is_good(Result(1.0, right, left_behind=["java"]))
    told = report.markdown(found, ABOUT)
    assert "1 wrong" in told and "another text" in told and FAULTS["kill-worker"].purpose in told
