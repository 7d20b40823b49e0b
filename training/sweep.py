"""Chooses the sampling defaults: the most fluent of those that write as variedly as the text.

Each candidate continues openings of held-out chunks; its completions and the chunks' own
continuations are compared in three shares. Too cold a setting loops, too hot a one puts words
together that nobody does and loses track of its quotes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean

from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from training.corpus import Corpus
from training.samples import (
    Sampling,
    closed_quotes,
    distinct_4grams,
    known_trigrams,
    word_trigrams,
    write,
)
from training.vocabulary import encode_chunks

OPENING_TOKENS = 32
CONTINUATION_TOKENS = 200
MIN_DISTINCT = 0.9
# How far a candidate may fall behind the text itself; quotes are few, so their share is noisy.
DISTINCT_TOLERANCE = 0.01
QUOTES_TOLERANCE = 0.03
GRID = tuple(
    Sampling(temperature, top_p, penalty)
    for temperature, top_p, penalty in product((0.7, 0.8, 0.9, 1.0), (0.9, 0.95), (1.0, 1.1))
)


@dataclass(frozen=True)
class Look:
    """What completions look like, in shares between 0 and 1."""

    distinct_4grams: float
    closed_quotes: float
    known_trigrams: float

    def distance(self, other: "Look") -> float:
        """Sum of the differences."""
        return (
            abs(self.distinct_4grams - other.distinct_4grams)
            + abs(self.closed_quotes - other.closed_quotes)
            + abs(self.known_trigrams - other.known_trigrams)
        )

    def keeps_up_with(self, text: "Look") -> bool:
        """Whether it varies as much, and closes its quotes as often, as ``text`` does."""
        return (
            self.distinct_4grams >= max(MIN_DISTINCT, text.distinct_4grams - DISTINCT_TOLERANCE)
            and self.closed_quotes >= text.closed_quotes - QUOTES_TOLERANCE
        )


@dataclass(frozen=True)
class Sweep:
    """The candidates with their looks, best first."""

    text: Look
    candidates: tuple[tuple[Sampling, Look], ...]

    @property
    def best(self) -> Sampling:
        """What becomes the checkpoint's default."""
        return self.candidates[0][0]


def sweep(
    model: GPT2LMHeadModel,
    tokenizer: PreTrainedTokenizerFast,
    corpus: Corpus,
    seed: int,
    completions: int = 32,
    grid: Sequence[Sampling] = GRID,
    say: Callable[[str], None] = lambda line: None,
) -> Sweep | None:
    """Try every candidate; None where the held-out chunks are too short to continue."""
    length = min(CONTINUATION_TOKENS, model.config.n_positions - OPENING_TOKENS)
    needed = OPENING_TOKENS + length
    start = int(model.config.bos_token_id)
    chunks = [p for p in encode_chunks(tokenizer, corpus.held_out, start) if len(p) >= needed]
    chunks = chunks[:completions]
    if not chunks:
        return None
    known = known_trigrams(corpus.train)

    def look(continuations: Sequence[Sequence[int]]) -> Look:
        decoded = [str(tokenizer.decode(ids)) for ids in continuations]
        trigrams = [trigram for text in decoded for trigram in word_trigrams(text)]
        return Look(
            fmean(distinct_4grams(ids) for ids in continuations),
            fmean(closed_quotes(text) for text in decoded),
            sum(trigram in known for trigram in trigrams) / max(1, len(trigrams)),
        )

    text = look([chunk[OPENING_TOKENS:needed].tolist() for chunk in chunks])
    openings = [chunk[:OPENING_TOKENS].tolist() for chunk in chunks]
    tried = []
    for number, sampling in enumerate(grid, start=1):
        say(f"sampling defaults: {number} of {len(grid)}")
        tried.append((sampling, look(write(model, tokenizer, openings, sampling, length, seed))))
    return Sweep(text, tuple(sorted(tried, key=lambda candidate: _rank(candidate[1], text))))


def _rank(look: Look, text: Look) -> tuple[int, float]:
    """Lower is better: those that keep up, by fluency; the rest by distance; those that loop."""
    if look.keeps_up_with(text):
        return 0, -look.known_trigrams
    return (1 if look.distinct_4grams >= MIN_DISTINCT else 2), look.distance(text)
