"""Scores how surprising a text is to a model: bits per word and character. Knows no HTTP.

A text longer than the context is read in windows of two chunks, of which the second is scored: each
token is given at least the chunk before it, half the context.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from gpt2_client.client import Client
from gpt2_client.errors import BadReply
from gpt2_client.results import DEFAULT_MODEL, Logprobs

START = "<|endoftext|>"
DEFAULT_CONTEXT = 1024
# Tokens of a window that stay free: for the start, and where a cut changes how a text is encoded.
SPARE_TOKENS = 8
# What a token has in characters before the text has shown it.
FIRST_GUESS = 3.0

_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Word:
    """A word, where it begins in the text, and how surprising it was with the blanks before it."""

    text: str
    start: int
    bits: float
    tokens: int


@dataclass(frozen=True)
class Score:
    """A text's words, and the sums over all that was scored."""

    model: str
    characters: int
    tokens: int
    bits: float
    words: tuple[Word, ...]

    @property
    def bits_per_character(self) -> float:
        """Comparable between models, whatever their tokens are."""
        return self.bits / self.characters

    @property
    def perplexity(self) -> float:
        """Per token, so comparable between models with the same tokens alone."""
        return float(2.0 ** (self.bits / self.tokens))


@dataclass(frozen=True)
class _Token:
    start: int
    end: int
    bits: float


def score(client: Client, text: str, *, model: str = DEFAULT_MODEL) -> Score:
    """Score a text under a model.

    The first token is scored as a text's first where the model has a token for that, else left out.

    Raises:
        ValueError: It holds no word, or is too short to be scored.
    """
    spans = [match.span() for match in _WORD.finditer(text)]
    if not spans:
        raise ValueError("the text has no words")
    context = client.models(model=model)[0].context_length or DEFAULT_CONTEXT
    start = START if len(client.tokenize(START, model=model)) == 1 else ""
    tokens = list(_tokens(client, text, model, start, (context - SPARE_TOKENS) // 2))
    if not tokens:
        raise ValueError("the text is a single token, with nothing before it")
    bits, counts = [0.0] * len(spans), [0] * len(spans)
    ends = [end for _, end in spans]
    for token in tokens:
        # Blanks count to the word behind them, those at the end to the last one.
        index = min(bisect_right(ends, max(token.end - 1, token.start)), len(spans) - 1)
        bits[index] += token.bits
        counts[index] += 1
    words = tuple(
        Word(text[begin:end], begin, bits[index], counts[index])
        for index, (begin, end) in enumerate(spans)
    )
    return Score(model, len(text) - tokens[0].start, len(tokens), sum(bits), words)


def _tokens(client: Client, text: str, model: str, start: str, most: int) -> Iterator[_Token]:
    before = ""
    for begin, chunk in _chunks(client, text, model, most):
        prompt = start + before + chunk
        reply = client.generate(prompt, model=model, max_tokens=0, echo=True, logprobs=0)
        logprobs = reply.choices[0].logprobs
        if logprobs is None or not reply.text.startswith(prompt):
            raise BadReply("the server did not return the log probabilities of the text")
        yield from _scored(logprobs, len(prompt), len(start + before), begin)
        before = chunk


def _scored(logprobs: Logprobs, length: int, known: int, begin: int) -> Iterator[_Token]:
    """Yield the tokens that reach beyond the first `known` characters, placed in the whole text."""
    offsets = (*logprobs.text_offset, length)
    for index, logprob in enumerate(logprobs.token_logprobs):
        first, end = offsets[index], offsets[index + 1]
        if logprob is not None and (first >= known or end > known):
            yield _Token(begin + max(0, first - known), begin + end - known, -logprob / math.log(2))


def _chunks(client: Client, text: str, model: str, most: int) -> Iterator[tuple[int, str]]:
    """Cut a text in front of blanks into chunks of at most so many tokens."""
    begin, per_token = 0, FIRST_GUESS
    while begin < len(text):
        length = int(most * per_token)
        while True:
            end = _cut(text, begin, begin + max(1, length))
            chunk = text[begin:end]
            count = len(client.tokenize(chunk, model=model))
            if count <= most or len(chunk) == 1:
                break
            length = min(len(chunk) - 1, int(len(chunk) * most / count * 0.95))
        per_token = max(1.0, 0.95 * len(chunk) / max(1, count))
        yield begin, chunk
        begin = end


def _cut(text: str, begin: int, end: int) -> int:
    """Move an end back to where blanks begin, unless one word is all there is."""
    if end >= len(text):
        return len(text)
    for position in range(end, begin, -1):
        if text[position].isspace() and not text[position - 1].isspace():
            return position
    return end
