"""Frames beside the events of a stream: whatever is written and however it is cut, they part."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from handler import sideband
from handler.replies import to_json

texts = st.text(st.characters(exclude_categories=["Cs"]))  # marks and line ends among them
chosen = st.tuples(st.integers(0, 200), st.integers(0, 9), st.lists(st.integers(0, 99_999)), texts)


def written(index: int, sample: int, tokens: list[int], text: str) -> tuple[str, str]:
    """An event and its frame."""
    frame = sideband.frame(sideband.of_choice(index, sample, tokens, "stop"))
    return frame, f"data: {to_json({'text': text})}\n\n"


@given(st.lists(chosen, min_size=1, max_size=5), st.data())
def test_events_and_frames_part_whatever_they_hold(
    parts: list[tuple[int, int, list[int], str]], data: st.DataObject
) -> None:
    pairs = [written(*part) for part in parts]
    events, frames = sideband.split("".join(map("".join, pairs)).encode())
    assert events.decode() == "".join(event for _, event in pairs)
    assert [json.loads(frame) for frame in frames] == [
        {"choice": index, "sample": sample, "tokens": tokens, "finish": "stop"}
        for index, sample, tokens, _ in parts
    ]


@given(st.lists(texts))
def test_a_stream_without_frames_stays_as_it_is(parts: list[str]) -> None:
    whole = "".join(f"data: {to_json({'text': text})}\n\n" for text in parts).encode()
    assert sideband.split(whole) == (whole, [])


def test_nothing_but_the_secret_asks_for_frames() -> None:
    assert sideband.is_asked_for("abc", "abc")
    for given_, secret in [("abd", "abc"), ("", "abc"), ("", ""), ("abc", ""), ("ä", "abc")]:
        assert not sideband.is_asked_for(given_, secret)
