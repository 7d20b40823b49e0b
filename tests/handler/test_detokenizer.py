"""Text as it comes: whole characters only, and nothing of a stop string."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from handler.engine.errors import ModelError
from handler.engine.stops import StopMatcher
from handler.engine.vocabulary import Vocabulary
from tests.conftest import EMBEDDED_MODEL, EMBEDDED_VOCABULARY

VOCABULARY = Vocabulary.load(EMBEDDED_MODEL / "tokenizer.json", EMBEDDED_VOCABULARY, frozenset({0}))


@given(st.text())
def test_tokens_give_back_the_text_piece_by_piece(text: str) -> None:
    tokens = VOCABULARY.encode(text)
    writer = VOCABULARY.detokenizer()
    pieces = [writer.push(token) for token in tokens]
    assert "".join(pieces) + writer.finish() == VOCABULARY.decode(tokens) == text
    assert "\ufffd" not in "".join(pieces) or "\ufffd" in text


@given(st.lists(st.integers(1, 4095), max_size=40))
def test_any_tokens_decode_as_the_tokenizer_itself_decodes_them(tokens: list[int]) -> None:
    tokenizer = Tokenizer.from_file(str(EMBEDDED_MODEL / "tokenizer.json"))
    writer = VOCABULARY.detokenizer()
    text = "".join(map(writer.push, tokens)) + writer.finish()
    assert text == VOCABULARY.decode(tokens) == tokenizer.decode(tokens)


@given(
    st.text(alphabet="abc", max_size=30),
    st.lists(st.text(alphabet="abc", min_size=1, max_size=4), min_size=1, max_size=4),
    st.integers(1, 5),
)
def test_what_is_shown_ends_before_the_first_stop_string(
    text: str, stops: list[str], size: int
) -> None:
    matcher = StopMatcher(stops)
    shown, stopped = "", False
    for at in range(0, len(text), size):
        piece, stopped = matcher.push(text[at : at + size])
        shown += piece
        assert not any(stop in shown for stop in stops)
        if stopped:
            break
    if not stopped:
        shown += matcher.finish()
        assert shown == text
    seen = text[: at + size] if text else ""
    assert stopped == any(stop in seen for stop in stops)
    if stopped:
        assert shown == seen[: min(seen.find(s) for s in stops if s in seen)]


def test_a_broken_tokenizer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{")
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        Vocabulary.load(path, 1)


def test_a_token_that_is_no_character_is_shown_as_bytes() -> None:
    (first, *_) = VOCABULARY.encode("漢")
    assert VOCABULARY.symbol(first).startswith("bytes:\\xe6")


def test_tokens_without_text_have_names_of_their_own() -> None:
    assert VOCABULARY.symbol(0) == "<|endoftext|>"
    larger = Vocabulary.load(EMBEDDED_MODEL / "tokenizer.json", EMBEDDED_VOCABULARY + 2)
    symbols = {larger.symbol(EMBEDDED_VOCABULARY + number) for number in range(2)}
    assert symbols == {f"<|{EMBEDDED_VOCABULARY}|>", f"<|{EMBEDDED_VOCABULARY + 1}|>"}
    assert larger.decode([EMBEDDED_VOCABULARY]) == ""
