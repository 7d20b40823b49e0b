"""The figures of a checkpoint on a held-out text, beside those of other ways to predict it."""

from collections.abc import Callable
from dataclasses import dataclass

from transformers import GPT2LMHeadModel

from training.corpus import Corpus
from training.evaluate import Score, score
from training.model import load_model
from training.references import (
    CHARACTER_ORDER,
    WORD_ORDER,
    character_bits_per_character,
    word_bits_per_character,
    xz_bits_per_character,
)
from training.vocabulary import encode_chunks, load_tokenizer

REFERENCES = {
    f"Kneser-Ney {WORD_ORDER}-grams of words": word_bits_per_character,
    f"Kneser-Ney {CHARACTER_ORDER}-grams of characters": character_bits_per_character,
    "xz -9, after the training text": xz_bits_per_character,
}


@dataclass(frozen=True)
class Figure:
    """One line of the table: who, and how many bits a character costs it."""

    name: str
    bits_per_character: float
    perplexity: float | None = None


def measure_checkpoint(source: str, corpus: Corpus, name: str | None = None) -> Figure:
    """A checkpoint (directory or hub id) on the held-out chunks."""
    model = load_model(source)
    result = score_held_out(model, load_tokenizer(source), corpus)
    return Figure(name or source, result.bits_per_character, result.perplexity)


def score_held_out(model: GPT2LMHeadModel, tokenizer: object, corpus: Corpus) -> Score:
    """Score on all held-out chunks, in windows of the model's whole context."""
    start = int(model.config.bos_token_id)
    chunks = encode_chunks(tokenizer, corpus.held_out, start)
    return score(model, chunks, corpus.held_out_characters, int(model.config.n_positions))


def references(corpus: Corpus, say: Callable[[str], None]) -> list[Figure]:
    """What is no neural network, trained on the same text."""
    figures = []
    for name, bits_per_character in REFERENCES.items():
        say(f"reference: {name}")
        figures.append(Figure(name, bits_per_character(corpus)))
    return figures


def table(figures: list[Figure]) -> str:
    """Markdown, in the given order."""
    lines = ["| measured on the held-out text | bits per character | perplexity per token |"]
    lines.append("|---|---|---|")
    for figure in figures:
        perplexity = "" if figure.perplexity is None else f"{figure.perplexity:,.1f}"
        lines.append(f"| {figure.name} | {figure.bits_per_character:.3f} | {perplexity} |")
    return "\n".join(lines)
